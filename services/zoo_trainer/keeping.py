"""Keeps checkpoints where the next attempt finds them, and tells of it; publishes nothing."""

import shutil
from collections.abc import Callable, Mapping
from concurrent.futures import Executor, Future
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Protocol

from modelzoo.errors import Unauthenticated, Unavailable
from zoo.training.v1 import event_pb2, job_pb2
from zoo_trainer.checkpoint import Record
from zoo_trainer.loop import Standing
from zoo_trainer.report import Report
from zoo_trainer.usage import Usage

__all__ = ["Keeper", "Pushed", "Pushes"]


@dataclass(frozen=True, slots=True)
class Pushed:
    """What is in the output's namespace now."""

    digest: str
    size_bytes: int
    sent_bytes: int


class Pushes(Protocol):
    """Sends folders to the artifact service."""

    def push(self, folder: Path, format: str) -> Pushed:
        """What is known of the base and of what was pushed before is not sent again. Raises what `upload` raises."""
        ...


@dataclass
class Keeper:
    """Hears of the loop. A checkpoint counts once it is pushed; one that cannot be pushed now is passed over.

    The executor pushes, one after the other, while training goes on. `local` is the last checkpoint, on this machine's
    disk; those before it are removed.
    """

    report: Report
    pushes: Pushes
    executor: Executor
    of: Mapping[str, Any]
    steps: int
    steps_per_epoch: int
    micro_batch: int
    before: Mapping[str, Any]
    used: Callable[[], Usage]
    last_step: int = 0
    """Of the last checkpoint that was kept."""
    local: Path | None = None
    _pushing: Future[None] | None = field(default=None, repr=False)

    def metrics(self, standing: Standing, values: dict[str, float]) -> None:
        progress = job_pb2.Progress(step=standing.step, steps=self.steps, epoch=standing.step / self.steps_per_epoch)
        others = dict(values)
        if "loss" in others:
            progress.loss = others.pop("loss")
            progress.examples_per_second = others.pop("examples_per_second")
            left_s = (self.steps - standing.step) * others["seconds_per_step"]
            progress.remaining.FromNanoseconds(round(left_s * 1e9))
        self.report.event(event_pb2.Event(metrics=event_pb2.Metrics(progress=progress, values=others)))

    def is_keeping(self) -> bool:
        if self._pushing is not None and self._pushing.done():
            self.wait()
        return self._pushing is not None

    def checkpoint(self, folder: Path, standing: Standing) -> None:
        self.record(standing).write(folder)
        self.wait()
        if self.local is not None:
            shutil.rmtree(self.local, ignore_errors=True)
        self.local = folder
        self._pushing = self.executor.submit(self._push, folder, standing.step)

    def wait(self) -> None:
        """Until no checkpoint is on its way. Raises what the last one failed of, once."""
        if self._pushing is not None:
            try:
                self._pushing.result()
            finally:
                self._pushing = None

    def settle(self) -> None:
        """The same where training has failed already, of something else: what the last one failed of is only told."""
        try:
            self.wait()
        except Exception as error:  # noqa: BLE001 - whatever it is, the other fault comes first
            self.report.log(f"The last checkpoint could not be kept: {error}", event_pb2.SEVERITY_WARNING)

    def _push(self, folder: Path, step: int) -> None:
        try:
            pushed = self.pushes.push(folder, "checkpoint")
        except (Unavailable, Unauthenticated) as error:
            self.report.log(
                f"The checkpoint of step {step} could not be kept ({error.message}); training goes on.",
                event_pb2.SEVERITY_WARNING,
            )
            return
        committed = job_pb2.Checkpoint(
            step=step, manifest_digest=pushed.digest, size_bytes=pushed.size_bytes, sent_bytes=pushed.sent_bytes
        )
        self.report.event(event_pb2.Event(checkpoint=committed))
        self.last_step = step

    def record(self, standing: Standing) -> Record:
        return Record(
            of=self.of,
            step=standing.step,
            micro_batch=self.micro_batch,
            seconds=standing.seconds,
            examples=standing.examples,
            best=standing.best,
            best_step=standing.best_step,
            worse=standing.worse,
            before=self.before,
            **asdict(self.used()),
        )
