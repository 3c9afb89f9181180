"""Prose: the King James Version of the Bible (1611), 31,102 verses, whose copyright has long expired.

The package keeps it compressed in windows: after 88 bytes of header, big-endian 32-bit numbers say how many windows
there are, where each begins, and where the last one ends. Each is an LZW stream; unpacked and joined they are lines
such as `Ge1:1 In the beginning God created the heaven and the earth.`
"""

import hashlib
import re
import struct
from dataclasses import dataclass
from functools import cache
from itertools import groupby, pairwise
from pathlib import Path

from zoo_starters.debs import Deb, read_member
from zoo_starters.lzw import decompress

__all__ = ["CARRIER", "LICENCE", "TEXT", "Chapter", "held_out_chapters", "training_chapters", "unpack"]

CARRIER = Deb(
    "bible-kjv-text",
    "4.38",
    "d61b6aad4c51ba9e2800b825325fa6a09e99a0d02a9bb6dc4724fcc4995a1b7a",
    "pool/main/b/bible-kjv/bible-kjv-text_4.38_all.deb",
)
TEXT = "usr/lib/bible.data"
LICENCE = "usr/share/doc/bible-kjv-text/copyright"

COUNT_AT = 88
NUMBER = struct.Struct(">I")

# One chapter in twenty is held out, by the digest of its name.
HELD_OUT_BELOW = 13

_VERSE = re.compile(r"(?P<chapter>\w+?\d+):\d+ (?P<text>.*)")


@dataclass(frozen=True, slots=True)
class Chapter:
    """`name` such as `Ge1`; `verses` as they are printed."""

    name: str
    verses: tuple[str, ...]

    @property
    def text(self) -> str:
        """A verse a line."""
        return "\n".join(self.verses)

    @property
    def is_held_out(self) -> bool:
        return hashlib.sha256(self.name.encode()).digest()[0] < HELD_OUT_BELOW


def training_chapters(packages: Path) -> list[Chapter]:
    """About 1,130, in the order of the books."""
    return [each for each in _chapters(CARRIER.fetch(packages)) if not each.is_held_out]


def held_out_chapters(packages: Path) -> list[Chapter]:
    """About 60, without the verses that stand word for word in a training chapter."""
    known = {verse for chapter in training_chapters(packages) for verse in chapter.verses}
    chapters = [each for each in _chapters(CARRIER.fetch(packages)) if each.is_held_out]
    return [Chapter(each.name, tuple(verse for verse in each.verses if verse not in known)) for each in chapters]


@cache
def _chapters(package: Path) -> list[Chapter]:
    matches = filter(None, map(_VERSE.fullmatch, unpack(read_member(package, TEXT)).decode("ascii").splitlines()))
    by_chapter = groupby(matches, key=lambda match: match["chapter"])
    return [Chapter(name, tuple(match["text"] for match in verses)) for name, verses in by_chapter]


def unpack(data: bytes) -> bytes:
    """The text in the package's file. Raises ValueError where it is none."""
    count = NUMBER.unpack_from(data, COUNT_AT)[0]
    bounds = struct.unpack_from(f">{count + 1}I", data, COUNT_AT + NUMBER.size)
    return b"".join(decompress(data[begin:end]) for begin, end in pairwise(bounds))
