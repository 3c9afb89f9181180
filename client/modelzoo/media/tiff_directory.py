"""The first directory of a TIFF structure, which EXIF blocks have too (TIFF 6.0, section 2).

Read here, in bounded time, because libraries that read all of it can be made to fill memory by one entry of a hundred
bytes' description and a million values.
"""

import struct
from dataclasses import dataclass

__all__ = ["Entry", "orientation_of", "read_directory"]

ENTRIES_MAX = 1000
ORIENTATION = 0x0112
UPRIGHT = 1

_SHORT, _LONG = 3, 4
_BYTE_ORDERS = {b"II*\0": "<", b"MM\0*": ">"}
_BYTES = frozenset({1, 2, 6, 7})  # BYTE, ASCII, SBYTE, UNDEFINED


@dataclass(frozen=True, slots=True)
class Entry:
    """`count` values of a type; `number` is the value where it is one SHORT or LONG, else 0."""

    is_bytes: bool
    count: int
    number: int


def read_directory(data: bytes) -> dict[int, Entry]:
    """Entries by tag, as far as they are there; none where `data` is no TIFF structure."""
    order = _BYTE_ORDERS.get(data[:4])
    if order is None or len(data) < 10:
        return {}
    (at,) = struct.unpack_from(f"{order}I", data, 4)
    if at + 2 > len(data):
        return {}
    (announced,) = struct.unpack_from(f"{order}H", data, at)
    there = (len(data) - at - 2) // 12
    entries: dict[int, Entry] = {}
    for index in range(min(announced, there, ENTRIES_MAX)):
        tag, kind, count = struct.unpack_from(f"{order}HHI", data, at + 2 + 12 * index)
        # A single value stands in the entry itself, at the start of its four bytes.
        form = {_SHORT: "H", _LONG: "I"}.get(kind) if count == 1 else None
        number = struct.unpack_from(order + form, data, at + 10 + 12 * index)[0] if form else 0
        entries[tag] = Entry(kind in _BYTES, count, number)
    return entries


def orientation_of(exif: bytes) -> int:
    """1 to 8, as EXIF 2.32 (4.6.4) has it; UPRIGHT where the block says nothing that can be understood."""
    entry = read_directory(exif.removeprefix(b"Exif\0\0")).get(ORIENTATION)
    return entry.number if entry and 1 <= entry.number <= 8 else UPRIGHT
