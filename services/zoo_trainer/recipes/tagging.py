"""Rows of words with tags, in the forms in which datasets have them, as one: a text, its words, and a tag of each.

Tags are in the scheme BIO: `B-x` begins an x, `I-x` goes on with it, `O` is nothing.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, cast

from modelzoo.errors import InvalidArgument
from modelzoo.tasks.words import OUTSIDE, Place, read_tags, split_words
from zoo_trainer.recipes.columns import column_of, text_of
from zoo_trainer.rows import Row

__all__ = ["ENTITIES", "TAGS", "TEXT", "TOKENS", "TagReader", "TaggedText", "unsuitable"]

TOKENS, TAGS, TEXT, ENTITIES = "tokens", ("tags", "ner_tags"), "text", "entities"
_BIO = re.compile(r"[BI]-\S.*|O")


@dataclass(frozen=True, slots=True)
class TaggedText:
    """`words[i]` has the tag `tags[i]`; every entity of theirs begins with a B-."""

    text: str
    words: Sequence[Place]
    tags: Sequence[str]


class TagReader:
    """Reads rows that have the columns of the first: `tokens` and tags, or `text` and `entities`."""

    def __init__(self, first: Row) -> None:
        """COLUMN_MISSING."""
        self._of_words = TOKENS in first
        column_of(first, (TOKENS, TEXT))
        self._second = column_of(first, TAGS if self._of_words else (ENTITIES,))

    def read(self, row: Row) -> TaggedText:
        """DATASET_UNSUITABLE for a row that says something else."""
        return self._words(row) if self._of_words else self._spans(row)

    def faults(self, rows: Iterable[Row]) -> list[str]:
        """What was mended in these rows when they were read: sentences with counts."""
        number = begun = bent = of_rows = 0
        for row in rows:
            of_row = begun + bent
            number += 1
            if self._of_words:
                tags = self._tags(row)
                begun += sum(tags[each.first].startswith("I-") for each in read_tags(tags))
            else:
                places = split_words(text_of(row, TEXT))
                starts, ends = {place.start for place in places}, {place.end for place in places}
                bent += sum(each[0] not in starts or each[1] not in ends for each in self._entities(row))
            of_rows += begun + bent > of_row
        found: list[str] = []
        if begun:
            found.append(
                f"{begun:,} entities in {of_rows:,} of {number:,} rows begin with I- and no B-: they were read as if "
                "they began with B-."
            )
        if bent:
            found.append(
                f"{bent:,} entities in {of_rows:,} of {number:,} rows begin or end within a word: the whole word was "
                "taken."
            )
        return found

    def _words(self, row: Row) -> TaggedText:
        tags = self._tags(row)
        words: Any = row.get(TOKENS)
        texts = cast(list[Any], words) if isinstance(words, list) else [words]
        if not all(isinstance(word, str) for word in texts) or not isinstance(words, list):
            raise unsuitable(f"{TOKENS} has to be a list of words in every row; one has {str(texts)[:80]!a}")
        if len(texts) != len(tags):
            raise unsuitable(f"a row has {len(texts)} {TOKENS} and {len(tags)} {self._second}: {str(row)[:200]!a}")
        places: list[Place] = []
        end = -1
        for word in texts:
            places.append(Place(end + 1, end + 1 + len(word)))
            end += 1 + len(word)
        return TaggedText(" ".join(texts), places, _mended(tags))

    def _tags(self, row: Row) -> list[str]:
        tags = row.get(self._second)
        if not isinstance(tags, list):
            raise unsuitable(f"{self._second} has to be a list of tags in every row; one has {str(tags)[:80]!a}")
        for tag in cast(list[Any], tags):
            if isinstance(tag, int):
                raise unsuitable(
                    f"{self._second} are numbers without names: write what they stand for (B-person, I-person, O), or "
                    "Parquet that names its classes"
                )
            if not isinstance(tag, str) or not _BIO.fullmatch(tag):
                raise unsuitable(f"{str(tag)[:80]!a} is no tag of the scheme BIO: B-x, I-x or O")
        return cast(list[str], tags)

    def _spans(self, row: Row) -> TaggedText:
        text = text_of(row, TEXT)
        places = split_words(text)
        tags = [OUTSIDE] * len(places)
        for start, end, label in self._entities(row):
            within = [number for number, place in enumerate(places) if place.start < end and start < place.end]
            if any(tags[number] != OUTSIDE for number in within):
                raise unsuitable(f"a word of a row belongs to two entities: {str(row)[:200]!a}")
            for number in within:
                tags[number] = f"{'B' if number == within[0] else 'I'}-{label}"
        return TaggedText(text, places, tags)

    def _entities(self, row: Row) -> list[tuple[int, int, str]]:
        """Start, end and label of each."""
        found: list[tuple[int, int, str]] = []
        length = len(text_of(row, TEXT))
        entities: Any = row.get(ENTITIES) or []
        if not isinstance(entities, list):
            raise unsuitable(f"{ENTITIES} has to be a list in every row; one has {str(entities)[:80]!a}")
        for each in cast(list[Any], entities):
            entity = cast(dict[str, Any], each) if isinstance(each, dict) else {}
            start, end, label = (entity.get(name) for name in ("start", "end", "label"))
            if not (isinstance(start, int) and isinstance(end, int) and isinstance(label, str) and label.strip()):
                raise unsuitable(f"an entity has a start, an end and a label; one is {str(cast(Any, each))[:200]!a}")
            if not 0 <= start < end <= length:
                raise unsuitable(
                    f"an entity lies outside of its text of {length} characters: {str(cast(Any, each))[:200]!a}"
                )
            found.append((start, end, label))
        return found


def unsuitable(why: str) -> InvalidArgument:
    return InvalidArgument("DATASET_UNSUITABLE", f"No tagger can learn from this dataset: {why}.")


def _mended(tags: Sequence[str]) -> list[str]:
    """The same entities, each begun with B-."""
    mended = list(tags)
    for each in read_tags(tags):
        mended[each.first] = f"B-{each.label}"
    return mended
