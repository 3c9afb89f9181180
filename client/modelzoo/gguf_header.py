"""Checks the header of a GGUF file against the file, without trusting a byte of it.

The format (github.com/ggml-org/ggml, docs/gguf.md): `GGUF`, version, counts of tensors and of key-value pairs; the
pairs; for each tensor its name, dimensions, type and offset; padding; the data. All numbers are little-endian. What
passes here has every tensor inside the file and nothing behind the last one.
"""

import struct
from dataclasses import dataclass
from typing import BinaryIO, NoReturn

from modelzoo.errors import InvalidArgument

__all__ = ["BLOCKS", "check_gguf"]

VERSIONS = (2, 3)
HEADER_BYTES_MAX = 100_000_000
NAME_BYTES_MAX = 65_535
RANK_MAX = 4
ALIGNMENT, ALIGNMENT_KEY, ALIGNMENT_MAX = 32, b"general.alignment", 1 << 20
NESTING_MAX = 4
_UNSIGNED_MAX = 2**64 - 1

_STRING, _ARRAY, _UINT32 = 8, 9, 4
# Bytes of a value by its type's number.
_SIZES = {0: 1, 1: 1, 2: 2, 3: 2, 4: 4, 5: 4, 6: 4, 7: 1, 10: 8, 11: 8, 12: 8}

# Elements and bytes of a block by the tensor type's number, as ggml 0.17 has them.
BLOCKS = {
    0: (1, 4),
    1: (1, 2),
    2: (32, 18),
    3: (32, 20),
    6: (32, 22),
    7: (32, 24),
    8: (32, 34),
    9: (32, 40),
    10: (256, 84),
    11: (256, 110),
    12: (256, 144),
    13: (256, 176),
    14: (256, 210),
    15: (256, 292),
    16: (256, 66),
    17: (256, 74),
    18: (256, 98),
    19: (256, 50),
    20: (32, 18),
    21: (256, 110),
    22: (256, 82),
    23: (256, 136),
    24: (1, 1),
    25: (1, 2),
    26: (1, 4),
    27: (1, 8),
    28: (1, 8),
    29: (256, 56),
    30: (1, 2),
    34: (256, 54),
    35: (256, 66),
    39: (32, 17),
    40: (64, 36),
    41: (128, 18),
}


@dataclass(frozen=True, slots=True)
class _Tensor:
    """`size_bytes` is None where the type is not known here."""

    offset: int
    size_bytes: int | None


def check_gguf(path: str, file: BinaryIO, file_size: int) -> None:
    """Return if the file, read from its start, is a GGUF file as the format says; else GGUF_INVALID, naming it."""
    _Reader(path, file, file_size).check()


class _Reader:
    def __init__(self, path: str, file: BinaryIO, file_size: int) -> None:
        self._path = path
        self._file = file
        self._size = file_size
        self._at = 0
        self._alignment = ALIGNMENT

    def check(self) -> None:
        if self._take(4) != b"GGUF":
            self._refuse("it does not begin with GGUF")
        if (version := self._number("<I")) not in VERSIONS:
            self._refuse(f"its version is {version}, not 2 or 3")
        tensors, pairs = self._count(), self._count()
        for _ in range(pairs):
            self._pair()
        found = [self._tensor() for _ in range(tensors)]
        self._check_data(found)

    def _check_data(self, tensors: list[_Tensor]) -> None:
        start = self._aligned(self._at)
        end = start if tensors else self._at
        for tensor in tensors:
            if tensor.offset % self._alignment:
                self._refuse("a tensor begins between two aligned places")
            begin = start + tensor.offset
            if begin + (tensor.size_bytes or 0) > self._size:
                self._refuse(f"a tensor ends at {begin + (tensor.size_bytes or 0)} but the file at {self._size}")
            end = max(end, begin + (tensor.size_bytes or 0))
        if all(tensor.size_bytes is not None for tensor in tensors) and self._size > max(self._aligned(end), start):
            self._refuse(f"{self._size - end} bytes lie behind its last tensor")

    def _pair(self) -> None:
        key, kind = self._string(), self._number("<I")
        if key == ALIGNMENT_KEY and kind == _UINT32:
            self._alignment = self._number("<I")
            if not 8 <= self._alignment <= ALIGNMENT_MAX or self._alignment % 8:
                self._refuse(f"its alignment is {self._alignment}")
        else:
            self._value(kind, 0)

    def _value(self, kind: int, depth: int) -> None:
        if kind == _STRING:
            self._skip(self._number("<Q"))
        elif kind == _ARRAY and depth < NESTING_MAX:
            of, count = self._number("<I"), self._count()
            if of in _SIZES:
                self._skip(count * _SIZES[of])
            else:
                for _ in range(count):
                    self._value(of, depth + 1)
        elif kind in _SIZES:
            self._skip(_SIZES[kind])
        else:
            self._refuse(f"a value has the unknown type {kind}")

    def _tensor(self) -> _Tensor:
        if len(self._string()) == 0:
            self._refuse("a tensor has no name")
        rank = self._number("<I")
        if rank > RANK_MAX:
            self._refuse(f"a tensor has {rank} dimensions; {RANK_MAX} at most")
        elements = 1
        for _ in range(rank):
            elements *= self._number("<Q")
            if elements > _UNSIGNED_MAX:
                self._refuse("a tensor has more elements than 64 bits can count")
        kind, offset = self._number("<I"), self._number("<Q")
        if kind not in BLOCKS:
            return _Tensor(offset, None)
        block, block_bytes = BLOCKS[kind]
        if elements % block:
            self._refuse("a tensor does not end at the end of a block")
        return _Tensor(offset, elements // block * block_bytes)

    def _count(self) -> int:
        # Every item takes at least a byte, so that no count can keep this busy beyond the file.
        count = self._number("<Q")
        if count > self._size:
            self._refuse(f"it counts {count} items in {self._size} bytes")
        return count

    def _string(self) -> bytes:
        length = self._number("<Q")
        if length > NAME_BYTES_MAX:
            self._refuse(f"a name has {length} bytes")
        return self._take(length)

    def _number(self, form: str) -> int:
        return struct.unpack(form, self._take(struct.calcsize(form)))[0]

    def _take(self, length: int) -> bytes:
        self._advance(length)
        data = self._file.read(length)
        if len(data) != length:
            self._refuse("its header ends early")
        return data

    def _skip(self, length: int) -> None:
        self._advance(length)
        self._file.seek(self._at)

    def _advance(self, length: int) -> None:
        self._at += length
        if self._at > min(self._size, HEADER_BYTES_MAX):
            self._refuse("its header leaves the file, or takes more than 100 MB")

    def _aligned(self, at: int) -> int:
        return -(-at // self._alignment) * self._alignment

    def _refuse(self, fault: str) -> NoReturn:
        raise InvalidArgument(
            "GGUF_INVALID",
            f"{self._path!a} is not a valid GGUF file: {fault}; save it again.",
            metadata={"path": self._path},
        )
