"""Whether a dataset can be learned from, by looking at every row: before it is sent, and before a job is queued."""

import math
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Any, cast

from blake3 import blake3

from modelzoo.datasets.boxes import OBJECTS, objects_problem
from modelzoo.datasets.facts import DatasetFacts
from modelzoo.datasets.layout import IMAGES, SOUNDS, rows_by_split
from modelzoo.datasets.pictures import (
    FILE_BYTES_MAX,
    PICTURE_COLUMNS,
    PICTURES,
    held_bytes,
    picture_problem,
    with_digests,
)
from modelzoo.datasets.placed import Place, Source, placed_rows
from modelzoo.datasets.reading import Open, read_dataset
from modelzoo.datasets.repeats import TRAIN, Repeats, example_digest
from modelzoo.datasets.rows import FAULTS_SHOWN, LABEL_COLUMNS, Faults, Labels
from modelzoo.datasets.tables import Row
from modelzoo.datasets.tagged import tags_problem
from modelzoo.errors import InvalidArgument
from modelzoo.media.kind import Kind, kind_of

__all__ = ["Checked", "check_dataset", "readable_columns"]

START_BYTES = 1024
READ_BYTES = 1024 * 1024
# Half an hour, the longest that is decoded, of 8 channels of 32 bits at 48 kHz, and some.
SOUND_BYTES_MAX = 3 * 2**30
SOUND = "audio"
LABELS_SHOWN = 10
PATH_CHARACTERS_MAX = 1024
# Columns whose texts name files even where none of them is there.
_FILE_COLUMNS = frozenset({"audio", "image", "file", "file_name", "path"})
_SOUNDS = frozenset({Kind.WAV, Kind.FLAC, Kind.OGG, Kind.MP3})
_WORDS = ((bool, "true or false"), (int | float, "a number"), (str, "a text"), (list, "a list"))  # in this order


@dataclass(frozen=True, slots=True)
class Checked:
    """A dataset that can be learned from: what is known of it, and what is worth a second look, in sentences."""

    facts: DatasetFacts
    notes: tuple[str, ...]
    repeated: Mapping[str, int] = field(default_factory=dict[str, int])
    """Rows to measure with that stand in train, too, by split."""


def check_dataset(sizes: Mapping[str, int], open_file: Open, needed: Sequence[str] = ()) -> Checked:
    """Look at every row of the dataset whose files have these paths and sizes.

    `needed` are columns that every row must fill, of several names that are parted by `|` one. Memory is bounded,
    except for COCO's documents. Raises DATASET_INVALID for rows that cannot be used (20 are told by file and line, all
    are counted: unreadable ones, numbers that are not finite, values of another kind than those before, files that are
    not there or not what they are called, pictures that cannot be decoded, needed values that are missing, needed
    objects without a label or a box), and DATASET_UNSUITABLE where there is nothing to learn from: no rows in `train`,
    or all of one label.
    """
    format, splits = rows_by_split(sizes)
    check = _Check(Source(sizes, open_file), format, needed)
    # What is measured with first: it is the smaller part, and what train is compared with.
    for split in sorted(splits, key=lambda name: name == TRAIN):
        check.read(split, splits[split])
    check.finish()
    facts = read_dataset(sizes, open_file, sys.maxsize)
    check_facts(facts, check.labels(TRAIN))
    return Checked(facts, check.notes(), dict(check.repeats.counts))


def readable_columns(sizes: Mapping[str, int], open_file: Open) -> tuple[str, ...]:
    """Those that rows fill, as far as rows can be read, whatever is wrong with others: what a recipe can be chosen by
    where faults keep the facts from being known. DATASET_INVALID where a whole file cannot be read."""
    format, splits = rows_by_split(sizes)
    source, unread = Source(sizes, open_file), Faults()
    found: dict[str, None] = {}
    for paths in splits.values():
        for _, row in placed_rows(format, paths, source, unread):
            found |= dict.fromkeys(name for name, value in row.items() if value is not None)
    return tuple(found)


def check_facts(facts: DatasetFacts, labels: Mapping[str, int]) -> None:
    """DATASET_UNSUITABLE where there is nothing to learn from; `labels` are those of train."""
    train = next((split for split in facts.splits if split.name == TRAIN), None)
    if train is None or train.rows == 0:
        names = ", ".join(split.name for split in facts.splits)
        raise _unsuitable(f"it has no rows to train on, but {names}: name a file or a folder `train`")
    if len(labels) == 1 and facts.format != "coco":
        raise _unsuitable(f"all rows of train have the label {next(iter(labels))[:80]!a}: add rows of another one")


class _Check:
    def __init__(self, source: Source, format: str, needed: Sequence[str]) -> None:
        self._source = source
        self._format = format
        self._needed = [tuple(names.split("|")) for names in needed]
        self._faults = Faults()
        self._kinds: dict[str, tuple[str, Place]] = {}
        self._labels: dict[str, Labels] = {}
        self._files: dict[str, Counter[bool]] = {}
        self._missing: list[tuple[str, Place, str]] = []
        self.repeats = Repeats()

    def read(self, split: str, paths: Sequence[str]) -> None:
        labels = self._labels.setdefault(split, Labels())
        for place, row in placed_rows(self._format, paths, self._source, self._faults):
            problem = self._problem(place, row)
            if problem:
                self._faults.add_at(str(place), problem)
                continue
            label = next((row[name] for name in LABEL_COLUMNS if row.get(name) is not None), None)
            labels.add(row)
            digest = example_digest(with_digests(row), lambda name, path=place.path: self._content(path, name))
            self.repeats.add(split, place, digest, label)

    def finish(self) -> None:
        """Raise what is wrong with rows."""
        named = {column for column, found in self._files.items() if column in _FILE_COLUMNS or found[True]}
        for column, place, name in self._missing:
            if column in named:
                self._faults.add_at(str(place), f"`{column}` names {name[:80]!a}, which is not in the dataset")
        self._faults.add_more(sum(max(0, self._files[column][False] - FAULTS_SHOWN) for column in named))
        self._faults.raise_if_any()

    def labels(self, split: str) -> dict[str, int]:
        found = self._labels.get(split)
        return found.counts() if found else {}

    def notes(self) -> tuple[str, ...]:
        notes = list(self.repeats.notes())
        known = self.labels(TRAIN)
        for split in self._labels:
            new = sorted(self.labels(split).keys() - known.keys()) if known else []
            if new and split != TRAIN:
                shown = ", ".join(new[:LABELS_SHOWN]) + (", ..." if len(new) > LABELS_SHOWN else "")
                notes.append(f"{split} has labels that train has not, which nothing can learn: {shown}")
        if not self.repeats.is_complete:
            notes.append("the dataset has too many rows to look for all that repeat")
        return tuple(notes)

    def _problem(self, place: Place, row: Row) -> str | None:
        """The first thing that is wrong with the row."""
        for name, value in row.items():
            if problem := self._value_problem(place, name, value):
                return problem
        for names in self._needed:
            if all(row.get(name) in (None, "") for name in names):
                empty = next((name for name in names if row.get(name) == ""), None)
                return f"its `{empty}` is empty" if empty else f"it has no {' or '.join(f'`{name}`' for name in names)}"
            if names == (OBJECTS,) and (problem := objects_problem(row[OBJECTS])):
                return problem
        return tags_problem(row)

    def _value_problem(self, place: Place, name: str, value: Any) -> str | None:
        if value is None:
            return None
        if not _is_finite(value):
            return f"`{name}` is not a finite number"
        kind = next((word for kind, word in _WORDS if isinstance(value, kind)), "an object")
        known, where = self._kinds.setdefault(name, (kind, place))
        if kind != known:
            return f"`{name}` is {kind}, and in {where} {known}: make them one"
        data = held_bytes(value)
        if data is not None:
            kind_held = kind_of(data)
            if name == SOUND or kind_held in _SOUNDS:
                return _sound_problem(f"`{name}`", data)
            is_picture = name in PICTURE_COLUMNS or kind_held in PICTURES
            return picture_problem(f"`{name}`", data) if is_picture else None
        match value:
            case (str() as named) | {"bytes": None, "path": str() as named}:
                return self._file_problem(place, name, named)
            case _:
                return None

    def _file_problem(self, place: Place, name: str, value: str) -> str | None:
        """What is wrong with the file that the value names, where it looks like the name of a picture or a sound."""
        suffix = _media_suffix(value)
        if suffix is None:
            return None
        count = self._files.setdefault(name, Counter())
        inside = PurePosixPath(value)
        if inside.is_absolute() or ".." in inside.parts:
            return f"`{name}` names a file outside of the dataset ({value[:80]!a}): put it beside the rows"
        found = self._source.beside(place.path, value)
        count[found is not None] += 1
        if found is None:
            # Whether the column names files at all is known at the end.
            if count[False] <= FAULTS_SHOWN:
                self._missing.append((name, place, value))
            return None
        return self._media_problem(found, suffix)

    def _media_problem(self, path: str, suffix: str) -> str | None:
        is_picture = suffix in IMAGES
        if is_picture and self._source.sizes[path] > FILE_BYTES_MAX:
            return f"{path} has more than {FILE_BYTES_MAX:,} bytes"
        with self._source.open_file(path) as file:
            start = file.read(FILE_BYTES_MAX if is_picture else START_BYTES)
        if is_picture:
            return picture_problem(path, start)
        if not start:
            return f"{path} is empty"
        kind = kind_of(start)
        if kind not in _SOUNDS:
            return f"{path} is not a sound that can be read: it is {kind}"
        if self._source.sizes[path] > SOUND_BYTES_MAX:
            return f"{path} has more than {SOUND_BYTES_MAX:,} bytes: cut it into parts"
        with self._source.open_file(path) as file:
            return _sound_problem(path, file.read())

    def _content(self, path: str, name: str) -> str | None:
        """The digest of the file that the text names, where there is one and it will be compared."""
        found = self._source.beside(path, name) if _media_suffix(name) else None
        if found is None:
            return None
        hashed = blake3()
        with self._source.open_file(found) as file:
            while piece := file.read(READ_BYTES):
                hashed.update(piece)
        return hashed.hexdigest()


def _sound_problem(field: str, data: bytes) -> str | None:
    """What keeps the sound from being decoded: no samples or too many, ones that are no numbers, its rate."""
    try:
        import soundfile  # noqa: F401  # pyright: ignore[reportUnusedImport, reportMissingTypeStubs]
    except ImportError:  # the client alone: the trainer looks before it begins
        return None
    from modelzoo.media.audio import measure_audio

    try:
        measure_audio(data, field=field)
    except InvalidArgument as error:
        return error.message.rstrip(".")
    return None


def _media_suffix(text: str) -> str | None:
    """The ending, where the text looks like the path of a picture or a sound."""
    if len(text) > PATH_CHARACTERS_MAX or "\n" in text:
        return None
    suffix = PurePosixPath(text).suffix.lower()
    return suffix if suffix in IMAGES | SOUNDS else None


def _is_finite(value: Any) -> bool:
    match value:
        case float():
            return math.isfinite(value)
        case list():
            return all(map(_is_finite, cast(list[Any], value)))
        case dict():
            return all(map(_is_finite, cast(dict[str, Any], value).values()))
        case _:
            return True


def _unsuitable(problem: str) -> InvalidArgument:
    return InvalidArgument("DATASET_UNSUITABLE", f"This dataset cannot be learned from: {problem}.")
