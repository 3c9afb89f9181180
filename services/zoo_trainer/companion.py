"""One of the other processes of a training: `python -m zoo_trainer.companion FOLDER FIRST_PID EVENTS_FD RANK`.

It computes its share and says nothing but how it ended, to the first one, with which it dies.
"""

import os
import sys
from dataclasses import replace
from pathlib import Path

from zoo_trainer.child import make_ready, work
from zoo_trainer.limits import die_with_parent
from zoo_trainer.report import Report
from zoo_trainer.stopping import Orders

__all__ = ["main"]


def main(folder: Path, first_pid: int, events: int, rank: int) -> None:
    die_with_parent(first_pid)
    task = make_ready(folder)
    own = folder / f"rank-{rank}"
    own.mkdir()
    with os.fdopen(events, "w", encoding="utf-8") as stream:
        report = Report(stream)
        report.release(work(replace(task, folder=own), report, Orders(), rank, folder))


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4]))
