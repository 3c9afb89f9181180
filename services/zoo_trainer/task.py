"""What the agent hands to a child: a folder with the lease, and where everything is."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from google.protobuf import json_format

from zoo.training.v1 import trainer_service_pb2 as pb

__all__ = ["PRINCIPAL", "Place", "Task", "read_task", "write_task"]

LEASE, PLACE, PRINCIPAL = "lease.binpb", "place.json", "principal"


@dataclass(frozen=True, slots=True)
class Place:
    """Directories with the base's, the dataset's and the checkpoint's files (none: ""), not to be written to; the
    artifact service's address; what the child may use: threads, and bytes of memory (0: all)."""

    base: str
    dataset: str
    checkpoint: str
    artifact: str
    threads: int
    memory_bytes: int


@dataclass(frozen=True, slots=True)
class Task:
    """One attempt at a job, in a folder of its own."""

    lease: pb.Lease
    place: Place
    folder: Path

    @property
    def namespace(self) -> str:
        """That of the output, into which checkpoints and results are pushed."""
        return self.lease.job.spec.output.partition("/")[0]

    @property
    def processes(self) -> int:
        """That compute it together."""
        return max(1, self.lease.job.spec.processes)

    @property
    def parameters(self) -> Mapping[str, Any]:
        return json_format.MessageToDict(self.lease.job.spec.parameters)

    def training(self, settings: Mapping[str, Any]) -> dict[str, Any]:
        """What makes this training differ from others: a checkpoint of another one is not gone on from."""
        spec = self.lease.job.spec
        return {
            "job": self.lease.job.name,
            "recipe": spec.recipe,
            "base": self.lease.base.manifest_digest,
            "dataset": self.lease.dataset.manifest_digest,
            "seed": spec.seed,
            "settings": dict(settings),
        }


def write_task(task: Task) -> None:
    (task.folder / LEASE).write_bytes(task.lease.SerializeToString())
    (task.folder / PLACE).write_text(json.dumps(asdict(task.place)))


def read_task(folder: Path) -> Task:
    lease = pb.Lease.FromString((folder / LEASE).read_bytes())
    return Task(lease, Place(**json.loads((folder / PLACE).read_text())), folder)
