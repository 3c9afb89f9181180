"""Progress bars: on stderr, and only where a person looks at a terminal."""

import sys
from collections.abc import Generator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from modelzoo.command.session import wants_json
from modelzoo.progress import Progress, Silence

if TYPE_CHECKING:
    from rich.progress import Progress as Bars
    from rich.progress import TaskID

__all__ = ["progress_bar"]


@contextmanager
def progress_bar(what: str) -> Generator[Progress]:
    """A Progress that draws a bar with bytes, rate and time left, for the length of a block."""
    if wants_json() or not sys.stderr.isatty():
        yield Silence()
        return
    from rich import progress
    from rich.console import Console

    columns = (
        progress.TextColumn("{task.description}"),
        progress.BarColumn(),
        progress.TaskProgressColumn(),
        progress.DownloadColumn(),
        progress.TransferSpeedColumn(),
        progress.TimeRemainingColumn(compact=True),
    )
    with progress.Progress(*columns, console=Console(stderr=True)) as bars:
        yield _Bar(bars, bars.add_task(what, total=None))


class _Bar:
    """Rich locks, so any thread may tell."""

    def __init__(self, bars: "Bars", task: "TaskID") -> None:
        self._bars = bars
        self._task = task

    def start(self, total_bytes: int) -> None:
        self._bars.update(self._task, total=total_bytes)

    def skip(self, count_bytes: int) -> None:
        self._bars.advance(self._task, count_bytes)

    def advance(self, count_bytes: int) -> None:
        self._bars.advance(self._task, count_bytes)
