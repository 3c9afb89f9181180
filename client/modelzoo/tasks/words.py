"""Words of a text: where they stand, which token begins each, and what their tags say together."""

import re
from collections.abc import Sequence
from typing import NamedTuple

__all__ = ["OUTSIDE", "Place", "Tagged", "first_tokens", "read_tags", "split_words"]

OUTSIDE = "O"
BEGINNING, INSIDE = "B", "I"
_WORD = re.compile(r"\w+|[^\w\s]")


class Place(NamedTuple):
    """Characters of a text, the end excluded."""

    start: int
    end: int


class Tagged(NamedTuple):
    """Words that are one thing, by their numbers, the end excluded."""

    label: str
    first: int
    end: int


def split_words(text: str) -> list[Place]:
    """Letters and digits in a row are a word, and so is each other character that is no space."""
    return [Place(*found.span()) for found in _WORD.finditer(text)]


def first_tokens(words: Sequence[Place], tokens: Sequence[tuple[int, int]]) -> list[int | None]:
    """Of each word the number of the first token that has some of it; None where it has none, as beyond the last.

    Both stand in the order of the text; a token without characters is a special one.
    """
    found: list[int | None] = []
    number = 0
    for word in words:
        while number < len(tokens) and tokens[number][1] <= word.start:
            number += 1
        begins = number < len(tokens) and tokens[number][0] < word.end
        found.append(number if begins else None)
    return found


def read_tags(tags: Sequence[str]) -> list[Tagged]:
    """What the words' tags say in the scheme BIO (Ramshaw and Marcus, 1995; Tjong Kim Sang and Veenstra, 1999): `B-x`
    begins an x, `I-x` goes on with it, `O` is nothing. An `I-x` that follows no x begins one. A tag without a prefix
    is a word by itself."""
    found: list[Tagged] = []
    for number, tag in enumerate(tags):
        prefix, dash, label = tag.partition("-")
        if tag == OUTSIDE:
            continue
        if not dash or prefix not in (BEGINNING, INSIDE):
            found.append(Tagged(tag, number, number + 1))
        elif prefix == INSIDE and found and found[-1].end == number and found[-1].label == label:
            found[-1] = found[-1]._replace(end=number + 1)
        else:
            found.append(Tagged(label, number, number + 1))
    return found
