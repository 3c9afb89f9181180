"""Progress of a training: a bar for people who look at a terminal, a line now and then for logs. Both on stderr."""

import sys
from collections.abc import Callable, Generator
from contextlib import contextmanager

__all__ = ["step_bar"]

LINES = 10
# Weight of what the loss was before, so that the shown one does not jump from batch to batch.
SMOOTHING = 0.9


@contextmanager
def step_bar(label: str, steps: int) -> Generator[Callable[[float], None]]:
    """A function to call after each of `steps` steps with its loss, for the length of a block."""
    if not sys.stderr.isatty():
        yield _lines(label, steps)
        return
    from rich import progress
    from rich.console import Console

    columns = (
        progress.TextColumn("{task.description}"),
        progress.BarColumn(),
        progress.MofNCompleteColumn(),
        progress.TextColumn("loss {task.fields[loss]}"),
        progress.TimeRemainingColumn(compact=True),
    )
    with progress.Progress(*columns, console=Console(stderr=True)) as bars:
        task = bars.add_task(label, total=steps, loss="-")
        smooth = _Smooth()
        yield lambda loss: bars.update(task, advance=1, loss=f"{smooth.add(loss):.3f}")


def _lines(label: str, steps: int) -> Callable[[float], None]:
    smooth = _Smooth()

    def tell(loss: float) -> None:
        smooth.add(loss)
        if smooth.count * LINES // steps > (smooth.count - 1) * LINES // steps:
            sys.stderr.write(f"{label}: step {smooth.count} of {steps}, loss {smooth.value:.3f}\n")

    return tell


class _Smooth:
    """A running mean that forgets."""

    def __init__(self) -> None:
        self.value = 0.0
        self.count = 0

    def add(self, value: float) -> float:
        kept = SMOOTHING if self.count else 0.0
        self.value = kept * self.value + (1 - kept) * value
        self.count += 1
        return self.value
