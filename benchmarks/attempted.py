"""One attempt at a job in a process of its own: what a trainer's child does, with nothing around it to push to.

python -m benchmarks.attempted RECIPE BASE DATA STEPS SEED PARAMETERS    prints what was measured as JSON
"""

import json
import os
import subprocess
import sys
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from zoo.training.v1 import job_pb2
from zoo.training.v1 import trainer_service_pb2 as pb

__all__ = ["Attempted", "attempt"]


@dataclass(frozen=True, slots=True)
class Attempted:
    """The recipe's metrics by name, on the test split; `loop_s` are the seconds of the training loop alone."""

    before: dict[str, float]
    after: dict[str, float]
    majority: dict[str, float]
    loop_s: float


def attempt(
    recipe: str, base: Path, data: Path, *, steps: int, seed: int, threads: int, parameters: dict[str, Any]
) -> Attempted:
    argv = [sys.executable, "-m", "benchmarks.attempted", recipe, str(base), str(data), str(steps), str(seed)]
    environment = {**os.environ, "OMP_NUM_THREADS": str(threads), "TOKENIZERS_PARALLELISM": "false"}
    done = subprocess.run([*argv, json.dumps(parameters)], check=True, stdout=subprocess.PIPE, env=environment)
    return Attempted(**json.loads(done.stdout.splitlines()[-1]))


def _attempt(recipe: str, base: str, data: str, steps: int, seed: int, parameters: dict[str, Any]) -> Attempted:
    import torch

    from zoo_trainer.course import run_attempt
    from zoo_trainer.keeping import Pushed
    from zoo_trainer.report import Report
    from zoo_trainer.stopping import Orders
    from zoo_trainer.task import Place, Task

    class Nowhere:
        def push(self, folder: Path, format: str) -> Pushed:
            return Pushed("0" * 64, 0, 0)

    threads = int(os.environ["OMP_NUM_THREADS"])
    torch.set_num_threads(threads)
    spec = job_pb2.JobSpec(
        base="bench/base@1",
        dataset="bench/data@1",
        output="bench/made",
        recipe=recipe,
        seed=seed,
        budget=job_pb2.Budget(steps=steps),
    )
    spec.parameters.update(parameters)
    lease = pb.Lease(
        job=job_pb2.Job(name="job_1", spec=spec),
        epoch=1,
        next_event=1,
        base=pb.Source(reference=spec.base, manifest_digest="0" * 64),
        dataset=pb.Source(reference=spec.dataset, manifest_digest="0" * 64),
    )
    with tempfile.TemporaryDirectory(prefix="zoo-bench-") as folder, Path(os.devnull).open("w") as unheard:
        task = Task(lease, Place(base, data, "", "", threads, 0), Path(folder))
        release = run_attempt(task, Report(unheard), Nowhere(), Orders())
    if release.outcome != pb.OUTCOME_TRAINED:
        raise RuntimeError(f"{release.reason}: {release.message}")
    measured = release.result.measured
    return Attempted(
        before={each.metric: each.before for each in measured},
        after={each.metric: each.after for each in measured},
        majority={each.metric: each.majority for each in measured},
        loop_s=release.result.used["wall_seconds"],
    )


if __name__ == "__main__":
    recipe, base, data, steps, seed, parameters = sys.argv[1:]
    print(json.dumps(asdict(_attempt(recipe, base, data, int(steps), int(seed), json.loads(parameters)))))
