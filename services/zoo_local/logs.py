"""Reading the processes' log files: their latest lines, and what is added to them."""

import os
import time
from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from zoo_local.layout import Layout
from zoo_local.output import readable

__all__ = ["Said", "follow_logs", "latest_lines", "log_files"]

POLL_S = 0.2


@dataclass(frozen=True, slots=True)
class Said:
    process: str
    text: str

    @property
    def shown(self) -> str:
        """Every line of it behind the name of the process: what was raised takes many."""
        return "".join(f"{self.process:<10} | {line}\n" for line in self.text.splitlines() or [""])


def log_files(layout: Layout, name: str) -> dict[str, Path]:
    """The current log of the process `name`, or of every process where that is empty, by process."""
    return {path.stem: path for path in sorted(layout.logs.glob("*.log")) if name in ("", path.stem)}


def latest_lines(files: Mapping[str, Path], count: int) -> Iterator[Said]:
    """The last `count` lines of each."""
    for name, path in files.items():
        with path.open(errors="replace") as file:
            for text in deque(file, maxlen=count):
                yield Said(name, readable(text.rstrip("\n")))


def follow_logs(files: Mapping[str, Path]) -> Iterator[Said]:
    """What is written from now on, for ever; a file that is rotated away is read to its end first."""
    opened = {name: path.open(errors="replace") for name, path in files.items()}
    for file in opened.values():
        file.seek(0, 2)
    try:
        while True:
            for name, path in files.items():
                for text in opened[name]:
                    yield Said(name, readable(text.rstrip("\n")))
                if path.exists() and path.stat().st_ino != os.fstat(opened[name].fileno()).st_ino:
                    opened[name].close()
                    opened[name] = path.open(errors="replace")
            time.sleep(POLL_S)
    finally:
        for file in opened.values():
            file.close()
