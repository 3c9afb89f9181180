"""Rows of words with a tag each, as taggers learn from."""

from typing import Any, cast

from modelzoo.datasets.tables import Row

__all__ = ["tags_problem"]

TOKENS, TAGS = "tokens", ("tags", "ner_tags")


def tags_problem(row: Row) -> str | None:
    """What keeps the row's words and tags from being pairs; None where it has none of these columns."""
    words: Any = row.get(TOKENS)
    for name in TAGS:
        tags: Any = row.get(name)
        if isinstance(words, list) and isinstance(tags, list):
            counts = len(cast(list[Any], words)), len(cast(list[Any], tags))
            if counts[0] != counts[1]:
                return f"it has {counts[0]} `{TOKENS}` and {counts[1]} `{name}`: each word has one"
    return None
