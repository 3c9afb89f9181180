"""Taggers: which words are learned and found, what is measured, and data that say it wrongly."""

import json
import random
from pathlib import Path
from typing import Any

import pytest
import torch

import modelzoo
from support.training import Attempt, attempt, lease, write_rows
from zoo.training.v1 import trainer_service_pb2 as pb
from zoo_trainer.entities import measure_entities
from zoo_trainer.recipes import Start, find_recipe
from zoo_trainer.rows import store_rows

PLACES = ("oslo", "rome", "lima", "bern")


def sentence(number: int) -> dict[str, Any]:
    """A place of two words after `in`, and a person after `with`; numbers make all rows differ."""
    words = ["go", str(number), "in", "old", PLACES[number % 4], "with", ("ann", "bob", "eve")[number % 3]]
    return {"tokens": words, "ner_tags": ["O", "O", "O", "B-place", "I-place", "O", "B-person"]}


def learner(base: Path, folder: Path, rows: list[dict[str, Any]], **settings: Any) -> Any:
    recipe = find_recipe("token-classification")
    stored = store_rows(rows, folder / "rows.jsonl", folder)
    notes: list[str] = []
    made = recipe.start(Start(base, "zoo/base@1", stored, stored, recipe.read_settings(settings), 1, notes))
    made.notes = notes
    return made


@pytest.fixture(scope="module")
def done(encoder: Path, tmp_path_factory: pytest.TempPathFactory) -> Attempt:
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("tagger")
    rows = [sentence(number) for number in range(90)]
    data = write_rows(folder / "data", train=rows[:66], test=rows[66:])
    return attempt(folder, encoder, data, lease("token-classification", {"learning_rate": 0.005}, steps=60))


def test_a_tagger_learns_and_its_pipeline_says_what_is_where(done: Attempt) -> None:
    f1 = done.measured("f1")
    assert f1.after > 0.8 > 0.2 > f1.before
    assert (f1.majority, f1.items, f1.split) == (0, 24, "test")
    found = modelzoo.pipeline(done.result)("go 7 in old lima, with bob")
    assert [(each.label, each.text, each.start, each.end) for each in found] == [
        ("place", "old lima", 8, 16),
        ("person", "bob", 23, 26),
    ]
    assert all(0.3 < each.score <= 1 for each in found)


def test_the_card_has_a_table_by_entity(done: Attempt) -> None:
    tables = json.loads((done.result / "evaluation.json").read_text())["after"]
    assert [(each["label"], each["rows"]) for each in tables["classes"]] == [("person", 24), ("place", 24)]
    assert "| place | 24 |" in (done.result / "README.md").read_text()


def test_first_pieces_are_learned_and_the_rest_is_passed_over(encoder: Path, tmp_path: Path) -> None:
    made = learner(encoder, tmp_path, [sentence(1)])
    batch = made.collate([made.encode(made.rows[0], torch.Generator())])
    numbers = batch["labels"][0].tolist()
    # A token for each byte, and one before the first.
    starts = [1, 4, 6, 9, 13, 18, 23]
    assert [at for at, number in enumerate(numbers) if number != -100] == starts
    assert [made.model.config.id2label[numbers[at]] for at in starts] == sentence(1)["ner_tags"]
    assert made.items(batch) == 7
    short = learner(encoder, tmp_path, [sentence(1)], max_length=8)
    assert [number for number in short.encode(short.rows[0], torch.Generator())[1] if number != -100] == [0, 0, 0]


def test_spans_and_words_say_the_same(encoder: Path, tmp_path: Path) -> None:
    text = "Ann Lee, of Oslo"
    spans = [{"start": 0, "end": 7, "label": "person"}, {"start": 12, "end": 16, "label": "place"}]
    made = learner(encoder, tmp_path, [{"text": text, "entities": spans}])
    tokens, numbers = made.encode(made.rows[0], torch.Generator())
    tags = {at: made.model.config.id2label[number] for at, number in enumerate(numbers) if number != -100}
    assert tags == {1: "B-person", 5: "I-person", 8: "O", 10: "O", 13: "B-place"}
    assert len(tokens) == len(text) + 2


def test_what_was_mended_is_counted(encoder: Path, tmp_path: Path) -> None:
    rows = [{"tokens": ["a", "b"], "tags": ["I-x", "I-x"]}, {"tokens": ["a"], "tags": ["B-x"]}]
    made = learner(encoder, tmp_path, rows)
    assert "1 entities in 1 of 2 rows begin with I- and no B-" in "\n".join(made.notes)
    numbers = made.encode(made.rows[0], torch.Generator())[1]
    assert [made.model.config.id2label[numbers[at]] for at in (1, 3)] == ["B-x", "I-x"]
    bent = learner(encoder, tmp_path, [{"text": "Oslo", "entities": [{"start": 1, "end": 4, "label": "x"}]}])
    assert "begin or end within a word" in "\n".join(bent.notes)


def test_a_head_for_the_same_tags_is_trained_on(done: Attempt, tmp_path: Path) -> None:
    data = write_rows(tmp_path / "data", train=[sentence(n) for n in range(8)], test=[sentence(90)])
    again = attempt(tmp_path, done.result, data, lease("token-classification", {}, steps=1))
    assert "new head" not in again.logs
    assert again.measured("f1").before > 0.8


def test_entities_are_counted_as_sets_of_spans_would_be() -> None:
    drawn = random.Random(0)
    tags = ["O", "O", "B-x", "I-x", "B-y", "I-y"]
    for _ in range(300):
        truth, said = ([[drawn.choice(tags) for _ in range(6)] for _ in range(2)] for _ in range(2))
        sides = [{(n, *each) for n, one in enumerate(side) for each in spans(one)} for side in (truth, said)]
        both = len(sides[0] & sides[1])
        found = measure_entities(truth, said)
        assert found.metrics["precision"] == pytest.approx(both / len(sides[1]) if sides[1] else 0)
        assert found.metrics["recall"] == pytest.approx(both / len(sides[0]) if sides[0] else 0)
        assert sum(each.rows for each in found.classes) == len(sides[0])


def spans(tags: list[str]) -> list[tuple[str, int, int]]:
    """Written another way: an entity goes on while the next tag is its I-."""
    found = []
    for first, tag in enumerate(tags):
        label = tag[2:]
        inside = first and tags[first - 1][2:] == label
        if tag == "O" or (tag[0] == "I" and inside):
            continue
        end = first + 1
        while end < len(tags) and tags[end] == f"I-{label}":
            end += 1
        found.append((label, first, end))
    return found


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ({"tokens": ["a", "b"], "tags": ["O"]}, "2 tokens and 1 tags"),
        ({"tokens": ["a"], "tags": [3]}, "numbers without names"),
        ({"tokens": ["a"], "tags": ["S-x"]}, "'S-x' is no tag of the scheme BIO"),
        ({"tokens": ["a"], "tags": ["O"]}, "nothing to find"),
        ({"tokens": "a b", "tags": ["O", "B-x"]}, "list of words"),
        ({"text": "a", "entities": [{"start": 0, "end": 9, "label": "x"}]}, "outside of its text"),
        ({"text": "a", "entities": [{"start": 0, "label": "x"}]}, "a start, an end and a label"),
        ({"text": "ab", "entities": [{"start": 0, "end": n, "label": "x"} for n in (1, 2)]}, "two entities"),
    ],
)
def test_tags_that_say_nothing_are_refused(encoder: Path, tmp_path: Path, row: dict[str, Any], words: str) -> None:
    data = write_rows(tmp_path / "data", train=[row] * 3, test=[row])
    ended = attempt(tmp_path, encoder, data, lease("token-classification", {}, steps=1)).release
    assert (ended.outcome, ended.reason) == (pb.OUTCOME_HOPELESS, "DATASET_UNSUITABLE")
    assert words in ended.message
