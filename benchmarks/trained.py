"""Jobs of the cluster's own trainer, from CreateJob to the published version, and what they say of themselves."""

import json
import time
from dataclasses import dataclass

from modelzoo.client import Client
from modelzoo.training_records import JobCheckpoint, JobSpec

__all__ = ["Trained", "train"]

RECORD = "training.json"


@dataclass(frozen=True, slots=True)
class Trained:
    """`loop_s` are the seconds of the training loop alone, with its checkpoints; `whole_s` those from the call that
    made the job until the version could be used."""

    reference: str
    loop_s: float
    whole_s: float
    checkpoints: list[JobCheckpoint]


def train(zoo: Client, spec: JobSpec) -> Trained:
    """Raises what `TrainingJob.result` does where it fails."""
    begun = time.monotonic()
    job = zoo.jobs.open(zoo.jobs.create(spec).name)
    version = job.result()
    whole_s = time.monotonic() - begun
    checkpoints = [event.checkpoint for event in zoo.jobs.watch(job.name, follow=False) if event.checkpoint]
    record = json.loads((zoo.pull(version.reference) / RECORD).read_text())
    return Trained(version.reference, record["used"]["wall_seconds"], whole_s, checkpoints)
