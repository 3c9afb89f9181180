"""Picture files that cost far more to decode than their pixels: found before a decoder sees them."""

import re

from modelzoo.media.kind import Kind
from modelzoo.media.tiff_directory import read_directory

__all__ = ["hazard_of"]

# A progressive JPEG has about ten. Each may be a hundred bytes long and passes over all coefficients once.
JPEG_SCANS_MAX = 100
# An 8192 x 8192 picture in tiles of 16 x 16 has as many, and each becomes several Python objects.
TIFF_VALUES_MAX = 2**18
# Decoders make room for a whole tile, however small the picture is.
TIFF_TILE_PIXELS_MAX = 2**24

_TILE_WIDTH, _TILE_LENGTH = 322, 323
# In compressed data FF is followed by 00 or a restart's number: anything else is the next marker (ITU-T T.81, B.1.1).
_JPEG_MARKER = re.compile(rb"\xff([^\x00\x01\xd0-\xd8\xff])")
_START_OF_SCAN, _END_OF_IMAGE = b"\xda", b"\xd9"


def hazard_of(kind: Kind, data: bytes) -> str:
    """Why these bytes are not decoded, to follow "it"; empty where nothing is wrong with them."""
    if kind is Kind.JPEG and _scans(data) > JPEG_SCANS_MAX:
        return f"has more than {JPEG_SCANS_MAX} scans"
    if kind is Kind.TIFF:
        return _tiff_hazard(data)
    return ""


def _scans(jpeg: bytes) -> int:
    """How many scans the first picture of the file has, counted to one over JPEG_SCANS_MAX."""
    scans, at = 0, 2
    while scans <= JPEG_SCANS_MAX and (found := _JPEG_MARKER.search(jpeg, at)):
        marker, at = found[1], found.end()
        if marker == _END_OF_IMAGE:
            break
        scans += marker == _START_OF_SCAN
        at += int.from_bytes(jpeg[at : at + 2], "big")
    return scans


def _tiff_hazard(data: bytes) -> str:
    entries = read_directory(data)
    if any(entry.count > TIFF_VALUES_MAX and not entry.is_bytes for entry in entries.values()):
        return f"has an entry of more than {TIFF_VALUES_MAX:,} values"
    width, length = entries.get(_TILE_WIDTH), entries.get(_TILE_LENGTH)
    if width and length and width.number * length.number > TIFF_TILE_PIXELS_MAX:
        return f"has tiles of {width.number} x {length.number} pixels"
    return ""
