"""Which bytes of a tensor a numpy-like index needs, and what is left to do once they are here."""

import math
import operator
from collections.abc import Iterator
from dataclasses import dataclass
from typing import SupportsIndex

from modelzoo.errors import InvalidArgument
from modelzoo.records import TensorInfo
from modelzoo.safetensors_header import DTYPE_BITS

__all__ = ["Index", "Part", "part_of"]

Index = SupportsIndex | slice
"""What stands for one dimension, as in numpy: a whole number drops the dimension, a slice keeps it."""


@dataclass(frozen=True, slots=True)
class Part:
    """Bytes `offset` to `offset + length` of the file are an array of `shape`; `rest` is to be taken from that."""

    offset: int
    length: int
    shape: tuple[int, ...]
    rest: tuple[int | slice, ...]


def part_of(info: TensorInfo, index: Index | tuple[Index, ...] | None) -> Part:
    """The one contiguous range that holds what `index` names, with as little else as possible.

    Whole numbers at the front and the first slice behind them narrow the range; what comes later is `rest`, taken from
    the array once it is here. None is the whole tensor. TENSOR_INDEX_INVALID where the index is out of range, has more
    entries than there are dimensions, goes backwards, or would divide a byte.
    """
    entries: tuple[Index, ...] = () if index is None else index if isinstance(index, tuple) else (index,)
    if len(entries) > len(info.shape):
        raise _invalid(info, f"{len(entries)} entries for {len(info.shape)} dimensions")
    bits = DTYPE_BITS[info.dtype]
    begin, shape = 0, info.shape
    rest: list[int | slice] = []
    resolved = _resolved(info, entries)
    for entry in resolved:
        row = math.prod(shape[1:]) * bits
        if isinstance(entry, int):
            begin, shape = begin + entry * row, shape[1:]
            continue
        begin, shape = begin + entry.start * row, (max(0, entry.stop - entry.start), *shape[1:])
        rest = [slice(None, None, entry.step), *resolved]
        break
    length = math.prod(shape) * bits
    if begin % 8 or length % 8:
        raise _invalid(info, f"{info.dtype} elements do not end at bytes there")
    return Part(info.offset + begin // 8, length // 8, shape, tuple(rest))


def _resolved(info: TensorInfo, entries: tuple[Index, ...]) -> Iterator[int | slice]:
    """Each entry in non-negative numbers, `start` and `stop` inside the dimension."""
    for size, entry in zip(info.shape, entries, strict=False):
        if isinstance(entry, slice):
            start, stop, step = entry.indices(size)
            if step < 0:
                raise _invalid(info, "a slice that goes backwards")
            yield slice(start, max(start, stop), step)
            continue
        number = operator.index(entry)
        if not -size <= number < size:
            raise _invalid(info, f"{number} where the dimension has {size}")
        yield number % size


def _invalid(info: TensorInfo, why: str) -> InvalidArgument:
    return InvalidArgument(
        "TENSOR_INDEX_INVALID", f"The index does not fit {info.name[:80]!a}, {info.dtype} of {list(info.shape)}: {why}."
    )
