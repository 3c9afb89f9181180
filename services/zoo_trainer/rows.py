"""Rows on disk: read at random in bounded memory, however many there are."""

import base64
import binascii
import json
import mmap
from array import array
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, cast, overload

import blake3

from modelzoo.datasets.rows import sound_column
from modelzoo.datasets.streaming import Row

__all__ = ["Row", "Rows", "digest_of", "store_rows"]

DIGEST_BYTES = 8
# What is to be learned of a row: rows that differ in it alone are the same example.
LABEL_COLUMNS = frozenset({"label", "labels", "category", "class", "objects", "tags", "ner_tags", "entities", "score"})
# JSON has no bytes: an object of this key alone, with base64, stands for them.
BYTES = "\0bytes"


class _Store:
    """Rows as lines of JSON in a file, the offset of each, and the first eight bytes of each digest."""

    def __init__(self, path: Path, root: Path, offsets: "array[int]", digests: "array[int]") -> None:
        self.root = root
        self.offsets = offsets
        self.digests = digests
        with path.open("rb") as file:
            self._content = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) if offsets[-1] else b""

    def row(self, number: int) -> Row:
        return json.loads(self._content[self.offsets[number] : self.offsets[number + 1]], object_hook=_with_bytes)


class Rows(Sequence[Row]):
    """Some rows of a store, in an order of their own."""

    def __init__(self, store: _Store, numbers: "array[int]") -> None:
        self._store = store
        self._numbers = numbers

    def __len__(self) -> int:
        return len(self._numbers)

    @overload
    def __getitem__(self, index: int) -> Row: ...

    @overload
    def __getitem__(self, index: slice) -> "Rows": ...

    def __getitem__(self, index: int | slice) -> "Row | Rows":
        if isinstance(index, slice):
            return Rows(self._store, self._numbers[index])
        return self._store.row(self._numbers[index])

    @property
    def root(self) -> Path:
        """The dataset's folder: files that rows name lie below it."""
        return self._store.root

    def digest(self, index: int) -> int:
        """64 bits of the content of a row without its label; equal where the rows are the same example."""
        return self._store.digests[self._numbers[index]]

    def where(self, holds: Callable[[int], bool]) -> "Rows":
        """Those whose digest it holds for, in this order."""
        return Rows(self._store, array("q", (n for n in self._numbers if holds(self._store.digests[n]))))


def store_rows(rows: Iterable[Row], path: Path, root: Path) -> Rows:
    """All of the rows, written to a new file at `path`. Files below `root` that they name count by their content."""
    offsets, digests = array("q", [0]), array("Q")
    with path.open("wb") as file:
        for row in rows:
            file.write(json.dumps(row, default=_as_json).encode() + b"\n")
            offsets.append(file.tell())
            digests.append(digest_of(row, root))
    return Rows(_Store(path, root, offsets, digests), array("q", range(len(digests))))


def digest_of(row: Row, root: Path) -> int:
    """64 bits of what the row says, wherever the dataset lies; of a sound, of it alone."""
    sound = sound_column(row)
    kept = {name: value for name, value in row.items() if name not in LABEL_COLUMNS} or dict(row)
    kept = kept if sound is None else {sound: row[sound]}
    content = {name: _content(value, str(root)) for name, value in kept.items()}
    text = json.dumps(content, sort_keys=True, ensure_ascii=True, default=str)
    return int.from_bytes(blake3.blake3(text.encode()).digest(DIGEST_BYTES), "big")


def _content(value: Any, root: str) -> Any:
    """Of files and bytes, by whatever name, their digest; the rest as it is."""
    match value:
        case bytes():
            return blake3.blake3(value).hexdigest()
        case {"bytes": bytes() as data}:
            return blake3.blake3(data).hexdigest()
        case {"path": str() as path, "bytes": None}:
            return _content(path, root)
        case str() if value.startswith(root) and Path(value).is_file():
            return blake3.blake3(Path(value).read_bytes()).hexdigest()
        case _:
            return value


def _as_json(value: Any) -> Any:
    return {BYTES: base64.b64encode(value).decode()} if isinstance(value, bytes) else str(value)


def _with_bytes(found: dict[str, Any]) -> Any:
    if found.keys() != {BYTES}:
        return found
    try:
        return base64.b64decode(cast(Mapping[str, str], found)[BYTES], validate=True)
    except (binascii.Error, TypeError, ValueError):  # somebody's own object of that key
        return found
