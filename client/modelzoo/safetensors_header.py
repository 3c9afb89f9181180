"""Reads and checks the header of a safetensors file, without trusting a byte of it.

The format (github.com/huggingface/safetensors, "Format"): 8 bytes, the little-endian length N of the header; N bytes
of JSON that begin with `{` and may end in spaces; then the data. The JSON maps tensor names to
`{"dtype": ..., "shape": [...], "data_offsets": [begin, end]}` (offsets count from the start of the data), and
`__metadata__`, if present, to strings. The tensors cover the data without hole or overlap.

What passes here passes in the `safetensors` package. Refused here though the package may let it pass, because the
format forbids it or nobody writes it: names or members listed twice, members that are not of the format, padding
other than spaces, more than 64 dimensions.
"""

import json
import re
import struct
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import BinaryIO, NoReturn

from modelzoo.errors import InvalidArgument

__all__ = ["DTYPE_BITS", "HEADER_BYTES_MAX", "Header", "Tensor", "parse_header", "read_header"]

HEADER_BYTES_MAX = 100_000_000
LENGTH_BYTES = 8
RANK_MAX = 64
METADATA = "__metadata__"
_UNSIGNED_MAX = 2**64 - 1
_NAME_SHOWN_MAX = 120

# Every dtype of safetensors 0.8, by bits per element.
DTYPE_BITS = {
    **dict.fromkeys(["F4"], 4),
    **dict.fromkeys(["F6_E2M3", "F6_E3M2"], 6),
    **dict.fromkeys(["BOOL", "U8", "I8", "F8_E5M2", "F8_E4M3", "F8_E8M0", "F8_E4M3FNUZ", "F8_E5M2FNUZ"], 8),
    **dict.fromkeys(["I16", "U16", "F16", "BF16"], 16),
    **dict.fromkeys(["I32", "U32", "F32"], 32),
    **dict.fromkeys(["I64", "U64", "F64", "C64"], 64),
}


@dataclass(frozen=True, slots=True)
class Tensor:
    """A tensor's place: bytes `begin` to `end` of the data, which starts at `Header.size` in the file."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    begin: int
    end: int

    @property
    def size_bytes(self) -> int:
        return self.end - self.begin


@dataclass(frozen=True, slots=True)
class Header:
    """A checked header. `size` counts the length field too; `tensors` are in the order of the data."""

    size: int
    tensors: tuple[Tensor, ...]
    metadata: dict[str, str] = field(default_factory=dict[str, str])

    @property
    def data_size(self) -> int:
        return self.tensors[-1].end if self.tensors else 0


def read_header(file: BinaryIO, file_size: int) -> Header:
    """The header of a file of `file_size` bytes, read from its start; SAFETENSORS_INVALID says what is wrong."""
    length_field = file.read(LENGTH_BYTES)
    length = _header_length(length_field, file_size)
    return parse_header(length_field + file.read(length), file_size)


def parse_header(data: bytes, file_size: int) -> Header:
    """The header that `data` (length field and JSON, perhaps more) begins with, for a file of `file_size` bytes."""
    length = _header_length(data[:LENGTH_BYTES], file_size)
    text = data[LENGTH_BYTES : LENGTH_BYTES + length]
    if len(text) != length:
        _refuse(f"its header says {length} bytes but {len(text)} could be read")
    tensors, metadata = _Scanner(text).header()
    # Stable, so that tensors without bytes keep the header's order among themselves.
    tensors.sort(key=lambda tensor: (tensor.begin, tensor.end))
    _check_offsets(tensors, file_size - LENGTH_BYTES - length)
    return Header(LENGTH_BYTES + length, tuple(tensors), metadata)


def _header_length(length_field: bytes, file_size: int) -> int:
    if len(length_field) < LENGTH_BYTES:
        _refuse(f"it has {file_size} bytes, fewer than the {LENGTH_BYTES} of the header's length")
    (length,) = struct.unpack("<Q", length_field)
    if length > HEADER_BYTES_MAX:
        _refuse(f"its header says {length} bytes, over the limit of {HEADER_BYTES_MAX}")
    if LENGTH_BYTES + length > file_size:
        _refuse(f"its header says {length} bytes but the file has {file_size} in all")
    return length


def _check_offsets(tensors: list[Tensor], data_size: int) -> None:
    at = 0
    for tensor in tensors:
        if tensor.end < tensor.begin:
            _refuse(f"tensor {_shown(tensor.name)} ends at {tensor.end}, before its begin {tensor.begin}")
        if tensor.begin != at:
            what = "overlaps the tensor before it" if tensor.begin < at else "leaves a hole before it"
            _refuse(f"tensor {_shown(tensor.name)} {what}: it begins at {tensor.begin}, not {at}")
        if tensor.end > data_size:
            _refuse(f"tensor {_shown(tensor.name)} ends at {tensor.end}, past the end of the data at {data_size}")
        _check_size(tensor)
        at = tensor.end
    if at != data_size:
        _refuse(f"the tensors end at {at} but the data at {data_size}")


def _check_size(tensor: Tensor) -> None:
    bits = 1
    # The reference implementation multiplies 64-bit numbers in this order and refuses what overflows on the way.
    for factor in (*tensor.shape, DTYPE_BITS[tensor.dtype]):
        bits *= factor
        if bits > _UNSIGNED_MAX:
            _refuse(f"tensor {_shown(tensor.name)} has more elements than 64 bits can count")
    if bits % 8:
        _refuse(f"tensor {_shown(tensor.name)} of {tensor.dtype} does not end at a byte")
    if bits // 8 != tensor.size_bytes:
        _refuse(f"tensor {_shown(tensor.name)} has {tensor.size_bytes} bytes but its dtype and shape make {bits // 8}")


class _Scanner:
    """Reads the JSON as the one thing it may be, so that no nesting and no tree of junk can cost stack or memory."""

    _OPEN = re.compile(rb"[ \t\r\n]*+\{(?:[ \t\r\n]*+(\}))?")
    _STRING = re.compile(rb'[ \t\r\n]*+"((?:[^"\\\x00-\x1f]|\\.)*+)"')
    _COLON = re.compile(rb"[ \t\r\n]*+:")
    _NEXT = re.compile(rb"[ \t\r\n]*+([,}])")
    _NUMBERS = re.compile(rb"[ \t\r\n]*+\[([0-9, \t\r\n]*+)\]")
    _NUMBER = re.compile(r"0|[1-9][0-9]{0,19}")

    def __init__(self, text: bytes) -> None:
        self._text = text
        self._at = 0

    def header(self) -> tuple[list[Tensor], dict[str, str]]:
        if not self._text.startswith(b"{"):
            self._fail("'{'")
        tensors: dict[str, Tensor] = {}
        metadata: dict[str, str] | None = None

        def member(name: str) -> None:
            nonlocal metadata
            if name in tensors or (name == METADATA and metadata is not None):
                _refuse(f"the name {_shown(name)} is listed twice")
            if name == METADATA:
                metadata = self._metadata()
            else:
                tensors[name] = self._tensor(name)

        self._object(member)
        if self._text[self._at :].strip(b" "):
            self._fail("the end, or spaces")
        return list(tensors.values()), metadata or {}

    def _metadata(self) -> dict[str, str]:
        metadata: dict[str, str] = {}

        def member(name: str) -> None:
            if name in metadata:
                _refuse(f"{METADATA} has {_shown(name)} twice")
            metadata[name] = self._string()

        self._object(member)
        return metadata

    def _tensor(self, name: str) -> Tensor:
        dtype: str | None = None
        shape: tuple[int, ...] | None = None
        offsets: tuple[int, ...] | None = None

        def member(key: str) -> None:
            nonlocal dtype, shape, offsets
            if key == "dtype" and dtype is None:
                dtype = self._string()
            elif key == "shape" and shape is None:
                shape = self._numbers()
            elif key == "data_offsets" and offsets is None:
                offsets = self._numbers()
            else:
                _refuse(f"tensor {_shown(name)} has {_shown(key)} twice, or it is no member of the format")

        self._object(member)
        if dtype is None or shape is None or offsets is None:
            _refuse(f"tensor {_shown(name)} lacks dtype, shape or data_offsets")
        if dtype not in DTYPE_BITS:
            _refuse(f"tensor {_shown(name)} has the unknown dtype {_shown(dtype)}")
        if len(offsets) != 2:
            _refuse(f"tensor {_shown(name)} has {len(offsets)} data_offsets, not 2")
        return Tensor(name, dtype, shape, *offsets)

    def _object(self, member: Callable[[str], None]) -> None:
        """Call `member` with each key; it reads the value."""
        if self._match(self._OPEN, "'{'"):
            return
        while True:
            key = self._string()
            self._match(self._COLON, "':'")
            member(key)
            if self._match(self._NEXT, "',' or '}'") == b"}":
                return

    def _numbers(self) -> tuple[int, ...]:
        inside = self._match(self._NUMBERS, "a list of whole numbers, not negative").decode().strip(" \t\r\n")
        if inside.count(",") >= RANK_MAX:
            self._fail(f"a list of at most {RANK_MAX} numbers before this place")
        return tuple(map(self._number, inside.split(","))) if inside else ()

    def _number(self, text: str) -> int:
        text = text.strip(" \t\r\n")
        if not self._NUMBER.fullmatch(text) or (number := int(text)) > _UNSIGNED_MAX:
            self._fail("a list of whole numbers below 2**64 before this place")
        return number

    def _string(self) -> str:
        raw = self._match(self._STRING, "a string")
        try:
            text: str = json.loads(f'"{raw.decode()}"') if b"\\" in raw else raw.decode()
            text.encode()  # an escaped lone surrogate is no text
        except ValueError:
            self._fail("a string of Unicode text before this place")
        return text

    def _match(self, pattern: re.Pattern[bytes], what: str) -> bytes:
        """Step over the pattern; what its group caught, if it has one and that took part."""
        found = pattern.match(self._text, self._at)
        if found is None:
            self._fail(what)
        self._at = found.end()
        return found[pattern.groups] or b""

    def _fail(self, expected: str) -> NoReturn:
        _refuse(f"its header is not as the format says: {expected} was expected at byte {LENGTH_BYTES + self._at}")


def _shown(name: str) -> str:
    return ascii(name[:_NAME_SHOWN_MAX]) + ("..." if len(name) > _NAME_SHOWN_MAX else "")


def _refuse(fault: str) -> NoReturn:
    raise InvalidArgument("SAFETENSORS_INVALID", f"Not a valid safetensors file: {fault}; save it again.")
