"""Starters that jobs of recipes train: what a job starts from, which job it is, and the same without a zoo."""

import json
import shutil
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, cast

from zoo.training.v1 import event_pb2, job_pb2
from zoo.training.v1 import trainer_service_pb2 as pb
from zoo_starters.card import CARD
from zoo_starters.starter import STAND_IN_ITEMS, Measured, Starter, leave_files
from zoo_starters.step_bar import step_bar
from zoo_starters.training import THREADS, deterministic

if TYPE_CHECKING:
    from zoo_trainer.evaluation import Measurement
    from zoo_trainer.keeping import Pushed

__all__ = ["Learned", "read_tables"]

TABLES = "evaluation.json"


@dataclass(frozen=True, slots=True)
class Learned:
    """A job of `recipe` that trains the untrained network `base` with `dataset`, for `steps` steps.

    `few(packages, folder, held_out)` leaves a little of the dataset to train on and so many of its held-out rows (None:
    all): for stand-ins, and to measure on. `description` is what people read of the model beside the card that the
    trainer writes. `train` and `measure` are as a Training's: by the code of the recipe and of the trainer, without a
    zoo.
    """

    base: Starter
    dataset: Starter
    few: Callable[[Path, Path, int | None], None]
    recipe: str
    parameters: Mapping[str, Any]
    steps: int
    seed: int
    description: str

    def train(self, packages: Path, folder: Path, steps: int) -> None:
        """Leave in `folder` what the job would publish; raises RuntimeError where the recipe gives up."""
        from zoo_trainer.course import run_attempt
        from zoo_trainer.report import Report
        from zoo_trainer.stopping import Orders
        from zoo_trainer.task import Place, Task

        with tempfile.TemporaryDirectory(prefix="zoo-starter-") as scratch, deterministic(self.seed):
            base, dataset = self._folders(packages, Path(scratch))
            if steps < self.steps:
                self.few(packages, dataset, STAND_IN_ITEMS)
            else:
                leave_files(self.dataset, packages, dataset)
            own = Path(scratch) / "attempt"
            own.mkdir()
            task = Task(self._lease(steps), Place(str(base), str(dataset), "", "", THREADS, 0), own)
            with step_bar(self.recipe, steps) as tell:
                release = run_attempt(task, Report(cast(IO[str], _Told(tell))), _Folder(folder), Orders())
        if release.outcome != pb.OUTCOME_TRAINED:
            raise RuntimeError(f"{release.reason}: {release.message}")
        if steps < self.steps:
            card = folder / CARD
            said = f"**A stand-in for tests and demonstrations: {steps} of {self.steps} training steps.**"
            card.write_text(card.read_text().replace("# stand-in\n", f"# stand-in\n\n{said}\n", 1))

    def measure(self, packages: Path, folder: Path) -> tuple[Measured, ...]:
        """The figures of a version's tables, again."""
        with tempfile.TemporaryDirectory(prefix="zoo-starter-") as scratch:
            base, dataset = self._folders(packages, Path(scratch))
            self.few(packages, dataset, None)
            before, after = (self._measured(each, dataset, Path(scratch)) for each in (base, folder))
        return _figures(before, after)

    def _folders(self, packages: Path, scratch: Path) -> tuple[Path, Path]:
        """With the base, and for the dataset."""
        base, dataset = scratch / "base", scratch / "dataset"
        for folder in (base, dataset):
            folder.mkdir()
        leave_files(self.base, packages, base)
        return base, dataset

    def _measured(self, base: Path, dataset: Path, scratch: Path) -> "Measurement":
        from zoo_trainer.course import seed_all
        from zoo_trainer.recipes import Start, find_recipe
        from zoo_trainer.splits import divide
        from zoo_trainer.stopping import Orders

        recipe = find_recipe(self.recipe)
        settings = recipe.read_settings(self.parameters)
        with tempfile.TemporaryDirectory(dir=scratch) as rows, deterministic(self.seed):
            splits = divide(dataset, Path(rows), with_validation=False)
            seed_all(self.seed)
            learner = recipe.start(Start(base, "", splits.train, splits.held_out, settings, self.seed))
            return learner.measure(splits.held_out, settings.batch_size, Orders())

    def _lease(self, steps: int) -> pb.Lease:
        spec = job_pb2.JobSpec(
            base=self.base.name,
            dataset=self.dataset.name,
            output="zoo/stand-in",
            recipe=self.recipe,
            seed=self.seed,
            budget=job_pb2.Budget(steps=steps),
        )
        spec.parameters.update(dict(self.parameters))
        job = job_pb2.Job(name="none", spec=spec)
        base, dataset = (pb.Source(reference=each.name) for each in (self.base, self.dataset))
        return pb.Lease(job=job, epoch=1, next_event=1, base=base, dataset=dataset)


def read_tables(folder: Path) -> tuple[Measured, ...]:
    """The figures of a version that a job made, the most important one first."""
    from zoo_trainer.evaluation import Measurement

    tables = json.loads((folder / TABLES).read_text())
    return _figures(Measurement.from_json(tables["before"]), Measurement.from_json(tables["after"]))


def _figures(before: "Measurement", after: "Measurement") -> tuple[Measured, ...]:
    return tuple(
        Measured(
            metric=name,
            on="held-out rows",
            items=after.items,
            trained=value,
            baseline=after.majority.get(name, before.metrics[name]),
            baseline_name="always the commonest label" if name in after.majority else "the untrained network",
            untrained=before.metrics[name],
        )
        for name, value in after.metrics.items()
    )


class _Folder:
    """Keeps the result, and no checkpoint, in a folder that is there already."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def push(self, folder: Path, format: str) -> "Pushed":
        from zoo_trainer.keeping import Pushed

        if format != "checkpoint":
            shutil.copytree(folder, self._folder, dirs_exist_ok=True)
        return Pushed("0" * 64, 0, 0)


class _Told:
    """Hears of steps, and tells of each."""

    def __init__(self, tell: Any) -> None:
        self._tell = tell
        self._step = 0

    def write(self, line: str) -> None:
        from zoo_trainer.report import read_line

        event = read_line(line)
        if isinstance(event, event_pb2.Event) and event.metrics.progress.HasField("loss"):
            progress = event.metrics.progress
            for _ in range(self._step, progress.step):
                self._tell(progress.loss)
            self._step = progress.step

    def flush(self) -> None:
        """Nothing is kept back."""
