"""Rows that stand in a dataset more than once: to learn from and to measure with, or with two labels."""

import json
from collections.abc import Callable
from typing import Any

from blake3 import blake3

from modelzoo.datasets.boxes import OBJECTS
from modelzoo.datasets.placed import Place
from modelzoo.datasets.rows import LABEL_COLUMNS, sound_column
from modelzoo.datasets.tables import Row

__all__ = ["Repeats", "example_digest"]

DIGEST_BYTES = 8
# Of rows, about 300 bytes of memory each. Those that come after are compared with these, and not with each other.
REMEMBERED_MAX = 500_000
SHOWN = 20
TRAIN = "train"
_ANSWERS = frozenset({*LABEL_COLUMNS, OBJECTS})


def example_digest(row: Row, content: Callable[[str], str | None]) -> bytes:
    """Eight bytes that are equal where rows are the same example, whatever its label or what is found in it; of a
    sound, whatever is said of it.

    `content` gives the digest of the file that a text names, where it names one of the dataset.
    """
    sound = sound_column(row)
    kept = {name: value for name, value in row.items() if name not in _ANSWERS} or dict(row)
    kept = kept if sound is None else {sound: row[sound]}
    said = {name: content(value) or value if isinstance(value, str) else value for name, value in kept.items()}
    text = json.dumps(said, sort_keys=True, default=str)
    return blake3(text.encode()).digest(DIGEST_BYTES)


class Repeats:
    """Takes in rows, those of splits to measure with first."""

    def __init__(self, remembered_max: int = REMEMBERED_MAX) -> None:
        self._seen: dict[bytes, tuple[str, str | None, Place]] = {}
        self._remembered_max = remembered_max
        self.is_complete = True
        self.counts: dict[str, int] = {}
        """Rows to measure with that stand in train, too, by split."""
        self.contradictions = 0
        """Rows of train that are the same example as another and have another label."""
        self._shown: list[str] = []
        self._shown_contradictions: list[str] = []
        self._told: set[bytes] = set()

    def add(self, split: str, place: Place, digest: bytes, label: Any) -> None:
        known = self._seen.get(digest)
        said = None if label is None else str(label)
        if known is None:
            if len(self._seen) < self._remembered_max:
                self._seen[digest] = (split, said, place)
            else:
                self.is_complete = False
            return
        other, other_label, other_place = known
        if split == TRAIN and other != TRAIN and digest not in self._told:
            self._told.add(digest)
            self.counts[other] = self.counts.get(other, 0) + 1
            _show(self._shown, f"{other_place} is {place}")
        elif split == other == TRAIN and said != other_label:
            self.contradictions += 1
            _show(self._shown_contradictions, f"{other_place} ({other_label}) is {place} ({said})")

    def notes(self) -> tuple[str, ...]:
        """What to tell whoever trains with these rows."""
        found: list[str] = []
        total = sum(self.counts.values())
        if total:
            splits = ", ".join(f"{count:,} of {split}" for split, count in sorted(self.counts.items()))
            found.append(
                f"rows to measure with stand in train, too ({splits}), so that the result looks better than it is: "
                f"{_listed(self._shown, total)}"
            )
        if self.contradictions:
            found.append(
                f"{self.contradictions:,} rows of train are the same as another and have another label: "
                f"{_listed(self._shown_contradictions, self.contradictions)}"
            )
        return tuple(found)


def _show(shown: list[str], text: str) -> None:
    if len(shown) < SHOWN:
        shown.append(text)


def _listed(shown: list[str], total: int) -> str:
    more = f"; and {total - len(shown):,} more" if total > len(shown) else ""
    return "; ".join(shown) + more
