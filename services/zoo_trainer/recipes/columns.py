"""Which of a row's columns is which."""

from collections.abc import Sequence

from modelzoo.errors import InvalidArgument
from zoo_trainer.rows import Row

__all__ = ["column_of", "text_of"]


def column_of(row: Row, names: Sequence[str]) -> str:
    """The first of the names that the row has. COLUMN_MISSING, saying what it has."""
    for name in names:
        if name in row:
            return name
    raise InvalidArgument(
        "COLUMN_MISSING",
        f"The dataset needs a column called {' or '.join(names)}; it has {', '.join(sorted(row)) or 'none'}.",
    )


def text_of(row: Row, name: str) -> str:
    """A row's text; no value is an empty one. DATASET_UNSUITABLE for what is none."""
    value = row.get(name)
    if value is None:
        return ""
    if isinstance(value, str):
        return value
    raise InvalidArgument("DATASET_UNSUITABLE", f"{name} has to be a text in every row; one has {str(value)[:80]!a}.")
