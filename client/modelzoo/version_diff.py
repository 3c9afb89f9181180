"""What differs between two versions: config, files, tensors, and by how much.

Tensors are compared by the blobs that hold them, so what two versions share is never read. A tensor of 1 MiB or more
is its own blobs: other digests, other content. Small neighbours share a blob; where that differs, their own bytes are
read and compared. The norm of a change, ||a - b|| / ||a||, takes the bytes of both sides; they are read 32 MiB at a
time, so memory holds a few pieces, whatever the tensors' size.
"""

import importlib.util
import json
import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal, cast

from modelzoo.cut import TENSOR_BYTES_MIN
from modelzoo.file_bytes import FileBytes
from modelzoo.manifest import BLOB_BYTES_MAX, TENSOR_CUT, Manifest
from modelzoo.progress import Progress, Silence
from modelzoo.records import Metric, TensorInfo
from modelzoo.safetensors_header import DTYPE_BITS
from modelzoo.tensor_array import as_numbers, library
from modelzoo.tensor_index import overlapping
from modelzoo.tensor_reading import tensor_infos

__all__ = ["ConfigChange", "Diff", "FileChange", "MetricChange", "Side", "TensorChange", "compare", "metric_changes"]

CONFIG = "config.json"
CONFIG_BYTES_MAX = 16 * 1024 * 1024
NORMS_BYTES_MAX = 256 * 1024 * 1024  # read for norms that nobody asked for
PIECE_BYTES = BLOB_BYTES_MAX

Kind = Literal["added", "removed", "changed"]


@dataclass(frozen=True, slots=True)
class ConfigChange:
    """A setting by its path (`rope_scaling.factor`); `before` is None where it was added, `after` where removed."""

    key: str
    kind: Kind
    before: Any
    after: Any


@dataclass(frozen=True, slots=True)
class FileChange:
    """A file by its path; the size is None on the side that has no such file."""

    path: str
    kind: Kind
    size_before: int | None
    size_after: int | None


@dataclass(frozen=True, slots=True)
class TensorChange:
    """A tensor by its name; None on the side that lacks it.

    `norm` is ||a - b|| / ||a||, `largest` the largest |a - b| of an element. None where they were not asked for, where
    dtype or shape differ or no library here knows the dtype, and where there is none: one side holds an infinity or no
    number; of `norm`, a is all zeros.
    """

    name: str
    kind: Kind
    before: TensorInfo | None
    after: TensorInfo | None
    norm: float | None
    largest: float | None = None


@dataclass(frozen=True, slots=True)
class MetricChange:
    """What was measured with a split ('': all) of a dataset; None on the side that has no such metric."""

    dataset: str
    split: str
    name: str
    before: float | None
    after: float | None


@dataclass(frozen=True, slots=True)
class Side:
    """What was compared: a version, by its number, or a directory; and its size."""

    name: str
    size_bytes: int
    file_count: int


@dataclass(frozen=True, slots=True)
class Diff:
    """What changed from `a` to `b`, each kind in the order of names; `tensors_same` of both are equal.

    `norms_left_out` counts changed tensors whose norm was not computed because that would have read too much.
    """

    a: Side
    b: Side
    config: tuple[ConfigChange, ...]
    files: tuple[FileChange, ...]
    tensors: tuple[TensorChange, ...]
    tensors_same: int
    norms_left_out: int
    bytes_received: int
    metrics: tuple[MetricChange, ...] = ()

    @property
    def is_same(self) -> bool:
        """Whether both have the same files with the same content, whatever was measured."""
        return not (self.config or self.files or self.tensors)


def compare(
    a: FileBytes,
    b: FileBytes,
    names: tuple[str, str],
    *,
    norms: bool | None = None,
    progress: Progress | None = None,
    scanned_bytes: int = 0,
) -> Diff:
    """The changes that lead from `a` to `b`, which the result calls by their `names`.

    With `norms`, those of every changed tensor; with False none; with None those that fit into NORMS_BYTES_MAX of
    reading. `progress` hears of what is read, after `scanned_bytes` that it was told of before. Raises what reading
    either side raises; PACKAGE_MISSING for norms that are asked for and need numpy.
    """
    if norms is None and not importlib.util.find_spec("numpy"):
        norms = False
    if norms:
        library("numpy")
    comparison = _Comparison(a, b, norms, progress or Silence(), scanned_bytes)
    changes, same = comparison.tensors()
    return Diff(
        a=_side(names[0], a.manifest),
        b=_side(names[1], b.manifest),
        config=tuple(_config_changes(_config(a), _config(b))),
        files=tuple(_file_changes(a.manifest, b.manifest)),
        tensors=tuple(changes),
        tensors_same=same,
        norms_left_out=comparison.left_out,
        bytes_received=a.bytes_received + b.bytes_received,
    )


def metric_changes(a: Iterable[Metric], b: Iterable[Metric]) -> tuple[MetricChange, ...]:
    """The metrics that differ, by dataset, split and name."""
    before, after = ({(each.dataset, each.split, each.name): each.value for each in side} for side in (a, b))
    return tuple(
        MetricChange(*key, before.get(key), after.get(key))
        for key in sorted(before.keys() | after.keys())
        if before.get(key) != after.get(key)
    )


def _side(name: str, manifest: Manifest) -> Side:
    return Side(name, manifest.size_bytes, len(manifest.files))


class _Comparison:
    def __init__(self, a: FileBytes, b: FileBytes, norms: bool | None, progress: Progress, scanned_bytes: int) -> None:
        self._a = a
        self._b = b
        self._norms = norms
        self._progress = progress
        self._scanned_bytes = scanned_bytes
        self._files = tuple({file.path: file for file in side.manifest.files} for side in (a, b))
        self.left_out = 0

    def tensors(self) -> tuple[list[TensorChange], int]:
        """The changes, and the number of equal tensors."""
        before = {info.name: info for info in tensor_infos(self._a)}
        after = {info.name: info for info in tensor_infos(self._b)}
        alike: list[tuple[TensorInfo, TensorInfo]] = []
        changes: list[TensorChange] = []
        same = 0
        for name in sorted(before.keys() | after.keys()):
            old, new = before.get(name), after.get(name)
            if old is None or new is None:
                changes.append(TensorChange(name, "removed" if new is None else "added", old, new, None))
            elif (old.dtype, old.shape) != (new.dtype, new.shape):
                changes.append(TensorChange(name, "changed", old, new, None))
            elif self._same_blobs(old, new):
                same += 1
            else:
                alike.append((old, new))
        self._progress.start(self._scanned_bytes + sum(self._to_read(old) for old, _ in alike))
        left_bytes = math.inf if self._norms else NORMS_BYTES_MAX
        for old, new in alike:
            change, left_bytes = self._look_into(old, new, left_bytes)
            if change is None:
                same += 1
            else:
                changes.append(change)
        return sorted(changes, key=lambda change: change.name), same

    def _look_into(self, old: TensorInfo, new: TensorInfo, left_bytes: float) -> tuple[TensorChange | None, float]:
        """The change of two tensors whose blobs differ, None if they are equal; and what may still be read."""
        certain = self._is_certain(old)
        reading = self._norms is not False and self._to_read(old) <= left_bytes
        if certain and not reading:
            self.left_out += self._norms is None
            self._progress.skip(self._to_read(old))
            return TensorChange(old.name, "changed", old, new, None), left_bytes
        norm = _Norm(old.dtype, wanted=reading)
        for piece_a, piece_b in self._pieces(old, new):
            norm.add(piece_a, piece_b)
            self._progress.advance(len(piece_a) + len(piece_b))
        if norm.same:
            return None, left_bytes
        return TensorChange(old.name, "changed", old, new, norm.value(), norm.largest()), left_bytes - self._to_read(
            old
        )

    def _pieces(self, old: TensorInfo, new: TensorInfo) -> Iterator[tuple[bytearray, bytearray]]:
        file_a, file_b = self._files[0][old.path], self._files[1][new.path]
        for at in range(0, old.size_bytes, PIECE_BYTES):
            length = min(PIECE_BYTES, old.size_bytes - at)
            yield self._a.read(file_a, old.offset + at, length), self._b.read(file_b, new.offset + at, length)

    def _same_blobs(self, old: TensorInfo, new: TensorInfo) -> bool:
        """Whether the blobs say that the bytes are equal: the same ones, and the tensor at the same place in them."""
        if old.size_bytes == 0:
            return True
        return old.blobs == new.blobs and self._place(0, old) == self._place(1, new)

    def _place(self, side: int, info: TensorInfo) -> int:
        """Where in its first blob the tensor begins."""
        return info.offset - overlapping(self._files[side][info.path], info.offset, 1)[0][0]

    def _is_certain(self, info: TensorInfo) -> bool:
        """Whether other digests mean other content: where both sides cut the tensor by itself."""
        cuts = {side.manifest.cut for side in (self._a, self._b)}
        return cuts == {TENSOR_CUT} and info.size_bytes >= TENSOR_BYTES_MIN

    @staticmethod
    def _to_read(info: TensorInfo) -> int:
        return 2 * info.size_bytes


class _Norm:
    """Sums of squares over pieces of two tensors."""

    def __init__(self, dtype: str, *, wanted: bool) -> None:
        self.same = True
        self._dtype = dtype
        self._wanted = wanted and DTYPE_BITS[dtype] >= 8
        self._difference = self._length = self._largest = 0.0

    def add(self, a: bytearray, b: bytearray) -> None:
        self.same = self.same and a == b
        if not self._wanted:
            return
        numbers_a, numbers_b = as_numbers(self._dtype, a), as_numbers(self._dtype, b)
        if numbers_a is None or numbers_b is None:
            self._wanted = False
            return
        difference = abs(numbers_a - numbers_b)
        length = abs(numbers_a)
        self._difference += float((difference * difference).sum())
        self._largest = max(self._largest, float(difference.max(initial=0.0)))
        self._length += float((length * length).sum())

    def largest(self) -> float | None:
        # max passes over what is no number; the sum does not.
        if not self._wanted or not math.isfinite(self._difference):
            return None
        return self._largest

    def value(self) -> float | None:
        if not self._wanted:
            return None
        norm = math.sqrt(self._difference / self._length) if self._length else math.nan
        return norm if math.isfinite(norm) else None


def _config_changes(before: Mapping[str, Any], after: Mapping[str, Any]) -> Iterator[ConfigChange]:
    for key in sorted(before.keys() | after.keys()):
        if key not in before:
            yield ConfigChange(key, "added", None, after[key])
        elif key not in after:
            yield ConfigChange(key, "removed", before[key], None)
        elif before[key] != after[key] or type(before[key]) is not type(after[key]):
            yield ConfigChange(key, "changed", before[key], after[key])


def _config(source: FileBytes) -> dict[str, Any]:
    """The settings of config.json by path; none where there is no such file, or it is no object."""
    file = source.manifest.file(CONFIG)
    if file is None or file.size > CONFIG_BYTES_MAX:
        return {}
    try:
        content: Any = json.loads(source.read(file, 0, file.size))
    except (ValueError, RecursionError):
        return {}
    return dict(_flat("", content)) if isinstance(content, dict) else {}


def _flat(prefix: str, content: Any) -> Iterator[tuple[str, Any]]:
    if not isinstance(content, dict) or not content:
        yield prefix, content
        return
    for key, value in cast(dict[str, Any], content).items():
        yield from _flat(f"{prefix}.{key}" if prefix else key, value)


def _file_changes(before: Manifest, after: Manifest) -> Iterator[FileChange]:
    old = {file.path: file for file in before.files}
    new = {file.path: file for file in after.files}
    for path in sorted(old.keys() | new.keys()):
        a, b = old.get(path), new.get(path)
        if a is None or b is None:
            yield FileChange(path, "removed" if b is None else "added", a and a.size, b and b.size)
        elif a.sha256 != b.sha256:
            yield FileChange(path, "changed", a.size, b.size)
