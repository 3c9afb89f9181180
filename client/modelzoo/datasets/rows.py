"""Rows of a table, gathered one by one: their number, their columns, their labels, and what is wrong with them."""

from collections import Counter
from collections.abc import Mapping
from pathlib import PurePosixPath
from typing import Any

from modelzoo.datasets.facts import Feature
from modelzoo.datasets.layout import SOUNDS, dataset_invalid
from modelzoo.errors import InvalidArgument

__all__ = ["FAULTS_SHOWN", "LABEL_COLUMNS", "Columns", "Faults", "Labels", "sound_column"]

FAULTS_SHOWN = 20
COLUMNS_MAX = 1000
LABELS_MAX = 1000
LABEL_CHARACTERS_MAX = 200
LABEL_COLUMNS = ("label", "labels", "category", "class")
SOUND_COLUMNS = ("audio", "path", "file")
HELD = "audio"  # the one whose bytes are a sound's

_TYPES: Mapping[type, str] = {
    bool: "boolean",
    int: "integer",
    float: "number",
    str: "string",
    list: "list",
    dict: "object",
}


class Faults:
    """What is wrong with which row; all are counted, the first 20 are told."""

    def __init__(self) -> None:
        self._count = 0
        self._shown: list[str] = []

    def add(self, path: str, line: int, problem: str) -> None:
        self.add_at(f"{path}, line {line}", problem)

    def add_at(self, place: str, problem: str) -> None:
        """The same of a row that is no line."""
        self._count += 1
        if len(self._shown) < FAULTS_SHOWN:
            self._shown.append(f"{place}: {problem}")

    def add_more(self, count: int) -> None:
        """So many others, of which no more is known."""
        self._count += count

    def raise_if_any(self) -> None:
        """DATASET_INVALID that names the rows; metadata `faults` counts them."""
        if not self._count:
            return
        more = f"; and {self._count - len(self._shown)} more" if self._count > len(self._shown) else ""
        shown = f"{'; '.join(self._shown)}{more}"
        error = dataset_invalid(f"{self._count} of its rows cannot be used: {shown}. Mend them, or leave them out")
        raise InvalidArgument(error.reason, error.message, metadata={"faults": str(self._count)})


class Columns:
    """The columns of all rows, in the order in which they came up."""

    def __init__(self) -> None:
        self._types: dict[str, set[str]] = {}
        self._present: Counter[str] = Counter()
        self._rows = 0

    def add(self, row: Mapping[str, Any]) -> None:
        """Rows need not all have the same columns. DATASET_INVALID where there are more than a table can have."""
        self._rows += 1
        for name, value in row.items():
            types = self._types.setdefault(name, set())
            if value is not None:
                types.add(_TYPES[type(value)])
                self._present[name] += 1
        if len(self._types) > COLUMNS_MAX:
            raise dataset_invalid(f"its rows have more than {COLUMNS_MAX} different columns")

    def features(self) -> tuple[Feature, ...]:
        return tuple(
            Feature(name, _joined(types), optional=self._present[name] < self._rows)
            for name, types in self._types.items()
        )


class Labels:
    """How many rows have which label; nothing where there are more labels than classes would have."""

    def __init__(self) -> None:
        self._counts: Counter[str] | None = Counter()

    def add(self, row: Mapping[str, Any]) -> None:
        label = next((row[name] for name in LABEL_COLUMNS if name in row), None)
        if isinstance(label, str | int) and not isinstance(label, bool):
            self.count(str(label))

    def count(self, label: str, rows: int = 1) -> None:
        if self._counts is None:
            return
        if len(label) <= LABEL_CHARACTERS_MAX:
            self._counts[label] += rows
        if len(self._counts) > LABELS_MAX:
            self._counts = None

    def counts(self) -> dict[str, int]:
        return dict(sorted((self._counts or {}).items()))


def sound_column(row: Mapping[str, Any]) -> str | None:
    """The column that names or holds the row's sound; None where the row has none. Such a row is to be written down, so
    that the sound alone makes the example."""
    for name in SOUND_COLUMNS:
        match row.get(name):
            case (str() as named) | {"path": str() as named} if PurePosixPath(named).suffix.lower() in SOUNDS:
                return name
            case bytes() | {"bytes": bytes()} if name == HELD:
                return name
            case _:
                pass
    return None


def _joined(types: set[str]) -> str:
    if types == {"integer", "number"}:
        return "number"
    return next(iter(types), "null") if len(types) <= 1 else "mixed"
