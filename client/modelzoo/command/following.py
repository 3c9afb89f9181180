"""Watching a job until it ends: on a board where a person looks, as lines elsewhere."""

import sys
from collections.abc import Callable, Generator
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

import typer

from modelzoo.command.failure import INTERRUPTED
from modelzoo.command.interruptible import interruptible
from modelzoo.command.job_text import event_line
from modelzoo.command.session import wants_json
from modelzoo.command.terminal import line, note

if TYPE_CHECKING:
    from modelzoo.training_job import TrainingJob
    from modelzoo.training_records import Job, JobEvent

__all__ = ["detaching", "follow", "shown_as_lines"]

# Between two lines of numbers: whoever reads a file does not want every step.
QUIET = timedelta(seconds=5)


def follow(job: "TrainingJob", after: int = 0, *, aside: bool) -> "Job":
    """Show what happens until the job is final, then answer it as it is. `aside`: on stderr, beside an answer."""
    stream = sys.stderr if aside else sys.stdout
    if wants_json():
        for _ in interruptible(job.watch(after)):
            pass
    elif stream.isatty():
        from modelzoo.command.job_board import Board

        with Board(job.record, stream) as board:
            for event in interruptible(job.watch(after)):
                board.show(event)
    else:
        show = shown_as_lines(note if aside else line)
        for event in interruptible(job.watch(after)):
            show(event)
    return job.refresh()


def shown_as_lines(write: Callable[[str], None]) -> "Callable[[JobEvent], None]":
    """What writes events as lines, numbers of the training at most every five seconds of the job's time."""
    last: datetime | None = None

    def show(event: "JobEvent") -> None:
        nonlocal last
        if event.metrics is not None and event.time is not None:
            is_measured = any(name.startswith("eval_") for name in event.metrics.values)
            if last is not None and event.time - last < QUIET and not is_measured:
                return
            last = event.time
        write(event_line(event))

    return show


@contextmanager
def detaching(what: str, again: str, end: str = "") -> Generator[None]:
    """Take Ctrl-C as: look no further. It says how to come back, and what is watched goes on."""
    try:
        yield
    except KeyboardInterrupt:
        note(f"\n{what} goes on without you; `{again}` comes back" + (f", `{end}` ends it" if end else ""))
        raise typer.Exit(INTERRUPTED) from None
