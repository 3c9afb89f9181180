"""A model's card: the Markdown of README.md, and the facts in the YAML front matter that the Hub's cards begin with.

    ---
    license: apache-2.0
    pipeline_tag: text-generation
    tags: [chat, small]
    ---
    # The text

A card is written by people for people, so nothing in it stops a publication: what cannot be read is text.
"""

import re
from dataclasses import dataclass
from typing import Any, cast

import yaml

__all__ = ["CARD_BYTES_MAX", "EMPTY_CARD", "Card", "parse_card"]

CARD_BYTES_MAX = 1024 * 1024
FRONT_MATTER_CHARACTERS_MAX = 64 * 1024
TAGS_MOST = 200
WORD_CHARACTERS_MAX = 200

# The second fence ends the document as in YAML: `---` or `...` alone on a line.
_FRONT_MATTER = re.compile(r"\A\ufeff?---[ \t]*\r?\n(.*?)^(?:---|\.\.\.)[ \t]*(?:\r?\n|\Z)", re.DOTALL | re.MULTILINE)
_NOTHING = ("", "~", "null")


@dataclass(frozen=True, slots=True)
class Card:
    """The text without its front matter; '' and () where the front matter says nothing."""

    text: str
    licence: str = ""
    task: str = ""
    tags: tuple[str, ...] = ()


EMPTY_CARD = Card("")


def parse_card(data: bytes) -> Card:
    """The card in a README.md. Never raises: a broken front matter leaves all of it as text, without facts."""
    text = data[:CARD_BYTES_MAX].decode(errors="replace").replace("\0", "\ufffd")
    found = _FRONT_MATTER.match(text)
    if found is None or len(found[1]) > FRONT_MATTER_CHARACTERS_MAX:
        return Card(text)
    try:
        # Every scalar stays the text that it is, no tag makes an object, and no merge key multiplies anything.
        front: Any = yaml.load(found[1], Loader=yaml.BaseLoader)  # noqa: S506 - stricter than the safe loader
    except (yaml.YAMLError, RecursionError, ValueError):
        return Card(text)
    if not isinstance(front, dict):
        return Card(text)
    facts = cast(dict[str, Any], front)
    return Card(
        text=text[found.end() :].lstrip("\r\n"),
        licence=_licence(facts),
        task=_word(facts.get("pipeline_tag")),
        tags=_words(facts.get("tags")),
    )


def _licence(facts: dict[str, Any]) -> str:
    """The Hub writes `license: other` and puts the licence's own name beside it."""
    licence = ", ".join(_words(facts.get("license")))[:WORD_CHARACTERS_MAX]
    return _word(facts.get("license_name")) or licence if licence in ("", "other") else licence


def _words(value: Any) -> tuple[str, ...]:
    """The different words of a list, or of one word, in their order."""
    items: list[Any] = cast(list[Any], value)[:TAGS_MOST] if isinstance(value, list) else [value]
    return tuple(dict.fromkeys(word for item in items if (word := _word(item))))


def _word(value: Any) -> str:
    if not isinstance(value, str) or value.strip() in _NOTHING:
        return ""
    # YAML's escapes can write what UTF-8 cannot, and what no database takes.
    return value.strip().encode(errors="replace").decode().replace("\0", "")[:WORD_CHARACTERS_MAX]
