"""What a job does, drawn anew as it goes on: for a person at a terminal."""

import sys
import threading
from collections import deque
from types import TracebackType
from typing import TYPE_CHECKING, Self, TextIO

from modelzoo.command.job_text import duration_text, event_line, number_text
from modelzoo.command.loss_curve import draw_curve
from modelzoo.command.terminal import safe

if TYPE_CHECKING:
    from rich.console import RenderableType

    from modelzoo.training_records import Job, JobEvent, JobProgress

__all__ = ["Board"]

CURVE_LINES = 8
BAR_COLUMNS = 60
CURVE_COLUMNS_MAX = 100
LINES_KEPT = 5
# As many as a wide terminal has dots for, several times over; then every other one goes.
POINTS_MAX = 4000
DRAWN_PER_S = 4


class Board:
    """State, step, loss, throughput, time left and host; the loss so far as a curve; the last lines of the log.

    What stands at the end of the block stays on the screen.
    """

    def __init__(self, job: "Job", stream: TextIO | None = None) -> None:
        from rich.console import Console
        from rich.live import Live

        self._job = job
        self._state, self._attempt, self._host = job.state, job.attempts, job.host
        self._progress = job.progress
        self._losses: list[tuple[float, float]] = []
        self._lines: deque[str] = deque(maxlen=LINES_KEPT)
        # Drawing happens on a thread of rich's.
        self._lock = threading.Lock()
        self._console = Console(file=stream or sys.stderr)
        self._live = Live(console=self._console, get_renderable=self._draw, refresh_per_second=DRAWN_PER_S)

    def __enter__(self) -> Self:
        self._live.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._live.__exit__(kind, error, trace)

    def show(self, event: "JobEvent") -> None:
        """Take the event in."""
        with self._lock:
            if event.state is not None:
                self._state, self._attempt = event.state.state, event.epoch or self._attempt
                if event.state.state == "RUNNING":
                    self._host = event.state.actor
            if event.metrics is None:
                self._lines.append(event_line(event))
                return
            self._progress = event.metrics.progress
            self._add_loss(event.metrics.progress)

    def _add_loss(self, progress: "JobProgress") -> None:
        if progress.loss is None:
            return
        # An attempt that went on from a checkpoint takes some steps again.
        while self._losses and self._losses[-1][0] >= progress.step:
            self._losses.pop()
        self._losses.append((progress.step, progress.loss))
        if len(self._losses) > POINTS_MAX:
            del self._losses[1:-1:2]

    def _draw(self) -> "RenderableType":
        from rich.console import Group
        from rich.text import Text

        with self._lock:
            title = Text(f"{self._job.name}  {safe(self._job.spec.output)}  ", style="bold")
            title.append(self._state, style=_STYLES.get(self._state, "bold"))
            parts: list[RenderableType] = [title, self._bar()]
            parts += [_one_line(line) for line in self._numbers()]
            columns = min(self._console.width, CURVE_COLUMNS_MAX)
            braille = self._console.encoding.lower().startswith("utf")
            if curve := draw_curve(self._losses, columns, CURVE_LINES, braille=braille):
                parts += [Text("loss", style="dim"), *(Text(line, style="cyan", no_wrap=True) for line in curve)]
            parts += [_one_line(line, "dim") for line in self._lines]
            return Group(*parts)

    def _bar(self) -> "RenderableType":
        from rich.progress_bar import ProgressBar
        from rich.table import Table

        # A bar does not end its line by itself.
        row = Table.grid()
        row.add_row(ProgressBar(total=self._progress.steps or None, completed=self._progress.step, width=BAR_COLUMNS))
        return row

    def _numbers(self) -> list[str]:
        progress = self._progress
        of = f"/{progress.steps:,}" if progress.steps else ""
        first = [f"step {progress.step:,}{of}", f"loss {number_text(progress.loss)}"]
        first += [f"ETA {duration_text(progress.remaining_s)}"]
        second = [f"{number_text(progress.examples_per_second or None)} examples/s"]
        if self._host:
            second.append(f"host {self._host}")
        if self._attempt > 1:
            second.append(f"attempt {self._attempt}")
        return ["  ".join(first), "  ".join(second)]


def _one_line(text: str, style: str = "") -> "RenderableType":
    """Cut at the terminal's edge: what is drawn in place must not grow. `zoo jobs logs` has the whole."""
    from rich.text import Text

    return Text(safe(text).replace("\n", " "), style=style, no_wrap=True, overflow="ellipsis")


_STYLES = {"SUCCEEDED": "bold green", "FAILED": "bold red", "CANCELLED": "bold yellow", "RUNNING": "bold cyan"}
