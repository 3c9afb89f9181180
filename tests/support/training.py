"""Attempts at jobs in this process: what a child does, without an agent and without services around it."""

import io
import json
import shutil
import uuid
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor, Future
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import blake3

from modelzoo.cut import scan_file
from modelzoo.manifest import Manifest
from modelzoo.tree import read_tree
from zoo.training.v1 import event_pb2, job_pb2
from zoo.training.v1 import trainer_service_pb2 as pb
from zoo_trainer.course import run_attempt
from zoo_trainer.keeping import Pushed
from zoo_trainer.ranks import Ranks
from zoo_trainer.recipes import Recipe, find_recipe
from zoo_trainer.report import Report, read_line
from zoo_trainer.stopping import Order, Orders
from zoo_trainer.task import Place, Task

__all__ = ["AtOnce", "Attempt", "FolderPushes", "Killed", "attempt", "lease", "topics", "write_rows"]

WORDS = {
    "animal": ("dog", "cat", "horse", "bird", "mouse"),
    "food": ("bread", "soup", "apple", "cheese", "rice"),
    "tool": ("saw", "hammer", "drill", "rope", "nail"),
}


def topics(count: int, labels: Sequence[str] = tuple(WORDS)) -> list[dict[str, str]]:
    """Rows of a text that a small model learns to label within a few steps; all are different."""
    return [
        {"text": f"the {WORDS[labels[n % len(labels)]][n // len(labels) % 5]} {n}", "label": labels[n % len(labels)]}
        for n in range(count)
    ]


def write_rows(folder: Path, **splits: Sequence[Mapping[str, Any]]) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name, rows in splits.items():
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder


def lease(
    recipe: str, parameters: Mapping[str, Any] | None = None, *, name: str = "job_1", seed: int = 7, **budget: Any
) -> pb.Lease:
    spec = job_pb2.JobSpec(
        base="zoo/base@1", dataset="zoo/data@1", output="team/out", recipe=recipe, seed=seed,
        budget=job_pb2.Budget(**budget),
    )  # fmt: skip
    spec.parameters.update(dict(parameters or {}))
    return pb.Lease(
        job=job_pb2.Job(name=name, spec=spec),
        epoch=1,
        next_event=1,
        base=pb.Source(reference="zoo/base@1", manifest_digest="b" * 64),
        dataset=pb.Source(reference="zoo/data@1", manifest_digest="d" * 64),
    )


class Killed(BaseException):
    """Stands for kill -9: nothing in a course may catch it."""


class FolderPushes:
    """Keeps what is pushed below a folder, by the digest of its manifest; counts bytes that were not there before."""

    def __init__(self, folder: Path, *known: Path) -> None:
        self.folder = folder
        self.pushed: list[tuple[str, Pushed]] = []
        self._blobs = {blob for path in known for blob in manifest_of(path, "transformers").unique_blobs()}

    def push(self, folder: Path, format: str) -> Pushed:
        manifest = manifest_of(folder, format)
        new = {blob: size for blob, size in manifest.unique_blobs().items() if blob not in self._blobs}
        self._blobs |= new.keys()
        shutil.copytree(folder, self.folder / manifest.digest(), dirs_exist_ok=True)
        pushed = Pushed(manifest.digest(), manifest.size_bytes, sum(new.values()))
        self.pushed.append((format, pushed))
        return pushed

    def path(self, digest: str) -> Path:
        return self.folder / digest


def manifest_of(folder: Path, format: str) -> Manifest:
    tree = read_tree(folder)
    return Manifest.of(format, [scan_file(tree.source(entry.path), entry.path) for entry in tree.files])


class AtOnce(Executor):
    """Does what is submitted before it returns, so that what comes after which step is certain."""

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        future: Future[Any] = Future()
        try:
            future.set_result(fn(*args, **kwargs))
        except Exception as error:
            future.set_exception(error)
        return future


class _Mortal(Orders):
    """Kills whoever looks at it once too often."""

    def __init__(self, looks: int) -> None:
        super().__init__()
        self._left = looks

    @property
    def stop(self) -> bool:
        self._left -= 1
        if self._left <= 0:
            raise Killed
        return super().stop


@dataclass
class Attempt:
    """How an attempt ended, what it said, and what it left."""

    release: pb.ReleaseJobRequest
    events: list[event_pb2.Event]
    pushes: FolderPushes

    @property
    def logs(self) -> str:
        return "\n".join(event.log.text for event in self.events if event.HasField("log"))

    @property
    def checkpoints(self) -> list[job_pb2.Checkpoint]:
        return [event.checkpoint for event in self.events if event.HasField("checkpoint")]

    @property
    def losses(self) -> list[float]:
        return [e.metrics.progress.loss for e in self.events if e.metrics.progress.HasField("loss")]

    @property
    def checkpoint(self) -> Path | None:
        """The last one's directory."""
        return self.pushes.path(self.checkpoints[-1].manifest_digest) if self.checkpoints else None

    @property
    def result(self) -> Path:
        assert self.release.outcome == pb.OUTCOME_TRAINED, (self.release, self.logs)
        return self.pushes.path(self.release.result.manifest_digest)

    def measured(self, metric: str) -> job_pb2.Measured:
        return next(each for each in self.release.result.measured if each.metric == metric)

    def weights(self) -> dict[str, str]:
        """The digest of each safetensors file of the result, by its name."""
        files = sorted(self.result.glob("*.safetensors"))
        return {file.name: blake3.blake3(file.read_bytes()).hexdigest() for file in files}


class _Told(io.TextIOBase):
    """Events as they are told; `then` sees each, and may order or kill."""

    def __init__(self, events: list[event_pb2.Event], then: Any) -> None:
        self._events = events
        self._then = then

    def write(self, line: str) -> int:
        message = read_line(line)
        if isinstance(message, event_pb2.Event):
            self._events.append(message)
            self._then(message)
        return len(line)


def attempt(
    folder: Path,
    base: Path,
    dataset: Path,
    leased: pb.Lease,
    *,
    checkpoint: Path | None = None,
    order: tuple[int, Order] | None = None,
    pushes: FolderPushes | None = None,
    events: list[event_pb2.Event] | None = None,
    kill_at: int = 0,
    recipe: Recipe | None = None,
    meet: Callable[[], Ranks] = Ranks,
    beside: Callable[[], Executor] = AtOnce,
) -> Attempt:
    """Run an attempt in a folder of its own; `order` is given once so many checkpoints were told (0: before all).

    Raises Killed at the look at the orders of that number, counted from 1: there are some at each step.
    """
    own = folder / f"attempt-{uuid.uuid4().hex}"
    own.mkdir(parents=True)
    place = Place(str(base), str(dataset), str(checkpoint or ""), "", 1, 0)
    pushes = pushes or FolderPushes(own / "pushed", base)
    told: list[event_pb2.Event] = [] if events is None else events
    orders = _Mortal(kill_at) if kill_at else Orders()

    def follow(event: event_pb2.Event) -> None:
        if order and sum(each.HasField("checkpoint") for each in told) >= order[0]:
            orders.last = order[1]

    if order and order[0] == 0:
        orders.last = order[1]
    report = Report(_Told(told, follow))  # type: ignore[arg-type]
    find = (lambda _: recipe) if recipe else find_recipe
    release = run_attempt(Task(leased, place, own), report, pushes, orders, find, meet=meet, beside=beside)
    return Attempt(release, told, pushes)
