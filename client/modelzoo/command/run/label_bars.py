"""Labels and how probable they are: bars for a person at a terminal, a table for everything else."""

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from modelzoo.command.terminal import print_table, safe, shortened

if TYPE_CHECKING:
    from modelzoo.records import LabelScore

__all__ = ["show_labels"]

BAR_CELLS = 30


def show_labels(found: "Sequence[tuple[str, Sequence[LabelScore]]]") -> None:
    """The labels of each input."""
    if sys.stdout.isatty():
        _draw(found)
        return
    print_table(
        ("INPUT", "SCORE", "LABEL"),
        [(shortened(name), f"{label.score:.4f}", label.label) for name, labels in found for label in labels],
    )


def _draw(found: "Sequence[tuple[str, Sequence[LabelScore]]]") -> None:
    from rich.console import Console
    from rich.progress_bar import ProgressBar
    from rich.table import Table
    from rich.text import Text

    console = Console(highlight=False)
    # One width for all, so that the bars of several inputs stand in a column.
    widest = max((len(_word(label)) for _, labels in found for label in labels), default=0)
    for number, (name, labels) in enumerate(found):
        if number:
            console.print()
        console.print(Text(shortened(safe(name)), style="bold"))
        table = Table.grid(padding=(0, 2, 0, 0))
        table.add_column(no_wrap=True, width=widest)
        table.add_column(justify="right", width=len("100.0%"))
        table.add_column(width=BAR_CELLS)
        for label in labels:
            bar = ProgressBar(
                total=1.0, completed=label.score, width=BAR_CELLS, complete_style="cyan", finished_style="cyan"
            )
            table.add_row(Text(_word(label)), Text(f"{label.score:.1%}"), bar)
        console.print(table)


def _word(label: "LabelScore") -> str:
    return shortened(" ".join(safe(label.label).split()))
