"""Definitions of nouns with their topics, as a dataset to try fine-tuning on: WordNet's, by lexicographer file."""

import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from zoo_starters.wordnet import TOPICS, Definition, held_out_definitions, training_definitions

__all__ = ["CHOSEN", "write_topics"]

# Common ones that people tell apart, too.
CHOSEN = ("animal", "body", "food", "location", "plant", "time")
# Of each topic; in WordNet's order neighbours are of one kind, so they are taken from all over.
TRAIN_ROWS, TEST_ROWS = 100, 20


def write_topics(packages: Path, folder: Path) -> dict[str, int]:
    """Leave train.jsonl and test.jsonl in the folder, rows of a `text` and a `label`; the rows of each.

    No words of one stand in the other, and the same rows come out each time.
    """
    folder.mkdir(parents=True, exist_ok=True)
    splits = {
        "train": list(_spread(training_definitions(packages), TRAIN_ROWS)),
        "test": list(_spread(held_out_definitions(packages), TEST_ROWS)),
    }
    for name, rows in splits.items():
        lines = [json.dumps({"text": row.text, "label": TOPICS[row.topic]}, ensure_ascii=False) + "\n" for row in rows]
        (folder / f"{name}.jsonl").write_text("".join(lines))
    return {name: len(rows) for name, rows in splits.items()}


def _spread(definitions: list[Definition], rows: int) -> Iterator[Definition]:
    """At most so many of each chosen topic, evenly from all of its definitions, in their order."""
    wanted = [each for each in definitions if TOPICS[each.topic] in CHOSEN]
    of_topic = Counter(each.topic for each in wanted)
    seen = Counter[int]()
    for each in wanted:
        number = seen[each.topic]
        seen[each.topic] += 1
        total = of_topic[each.topic]
        if number * rows // total != (number + 1) * rows // total or total <= rows:
            yield each
