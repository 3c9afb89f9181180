"""A model's card: the Markdown of README.md, and the facts in the YAML front matter that the Hub's cards begin with.

    ---
    license: apache-2.0
    pipeline_tag: text-generation
    tags: [chat, small]
    ---
    # The text

A card is written by people for people, so nothing in it stops a publication: what cannot be read is text.
"""

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, cast

import yaml

__all__ = ["CARD_BYTES_MAX", "EMPTY_CARD", "Card", "CardMetric", "parse_card"]

CARD_BYTES_MAX = 1024 * 1024
FRONT_MATTER_CHARACTERS_MAX = 64 * 1024
TAGS_MOST = 200
WORD_CHARACTERS_MAX = 200
METRICS_MOST = 200

# The second fence ends the document as in YAML: `---` or `...` alone on a line.
_FRONT_MATTER = re.compile(r"\A\ufeff?---[ \t]*\r?\n(.*?)^(?:---|\.\.\.)[ \t]*(?:\r?\n|\Z)", re.DOTALL | re.MULTILINE)
_NOTHING = ("", "~", "null")


@dataclass(frozen=True, slots=True)
class CardMetric:
    """A finite number of the front matter's `model-index`."""

    dataset: str
    split: str
    name: str
    value: float


@dataclass(frozen=True, slots=True)
class Card:
    """The text without its front matter; '' and () where the front matter says nothing."""

    text: str
    licence: str = ""
    task: str = ""
    tags: tuple[str, ...] = ()
    datasets: tuple[str, ...] = ()
    base_models: tuple[str, ...] = ()
    languages: tuple[str, ...] = ()
    metrics: tuple[CardMetric, ...] = ()


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
        datasets=_words(facts.get("datasets")),
        base_models=_words(facts.get("base_model")),
        languages=_words(facts.get("language")),
        metrics=tuple(_metrics(facts.get("model-index")))[:METRICS_MOST],
    )


def _licence(facts: dict[str, Any]) -> str:
    """The Hub writes `license: other` and puts the licence's own name beside it."""
    licence = ", ".join(_words(facts.get("license")))[:WORD_CHARACTERS_MAX]
    return _word(facts.get("license_name")) or licence if licence in ("", "other") else licence


def _metrics(index: Any) -> Iterator[CardMetric]:
    """What the Hub shows as evaluation results; the first of a dataset, split and name counts."""
    seen: set[tuple[str, str, str]] = set()
    for result in (result for model in _dicts(index) for result in _dicts(model.get("results"))):
        about = next(_dicts([result.get("dataset")]), dict[str, Any]())
        dataset = _word(about.get("type")) or _word(about.get("name"))
        split = _word(about.get("split"))
        for metric in _dicts(result.get("metrics")):
            name = _word(metric.get("type")) or _word(metric.get("name"))
            value = _number(metric.get("value"))
            if dataset and name and value is not None and (dataset, split, name) not in seen:
                seen.add((dataset, split, name))
                yield CardMetric(dataset, split, name, value)


def _dicts(value: Any) -> Iterator[dict[str, Any]]:
    """The mappings in a list."""
    items = cast(list[Any], value) if isinstance(value, list) else []
    return (cast(dict[str, Any], item) for item in items if isinstance(item, dict))


def _number(value: Any) -> float | None:
    """Every scalar of the front matter is text."""
    try:
        number = float(value) if isinstance(value, str) else math.nan
    except ValueError:
        return None
    return number if math.isfinite(number) else None


def _words(value: Any) -> tuple[str, ...]:
    """The different words of a list, or of one word, in their order."""
    items: list[Any] = cast(list[Any], value)[:TAGS_MOST] if isinstance(value, list) else [value]
    return tuple(dict.fromkeys(word for item in items if (word := _word(item))))


def _word(value: Any) -> str:
    if not isinstance(value, str) or value.strip() in _NOTHING:
        return ""
    # YAML's escapes can write what UTF-8 cannot, and what no database takes.
    return value.strip().encode(errors="replace").decode().replace("\0", "")[:WORD_CHARACTERS_MAX]
