"""Rows and their splits: the same on every machine, and honest about what stands twice."""

import json
from pathlib import Path
from typing import Any

import pytest

from modelzoo.errors import InvalidArgument
from support.training import topics, write_rows
from zoo_trainer.rows import Row, digest_of
from zoo_trainer.splits import Splits, divide


def split(root: Path, folder: Path, **more: Any) -> Splits:
    folder.mkdir()
    return divide(root, folder, **{"with_validation": False, **more})


def texts(rows: Any) -> set[str]:
    return {row["text"] for row in rows}


def test_a_missing_split_is_made_of_content_alone(tmp_path: Path) -> None:
    rows = topics(300)
    first = split(write_rows(tmp_path / "a", train=rows), tmp_path / "1")
    other = split(write_rows(tmp_path / "elsewhere", train=rows[::-1]), tmp_path / "2")
    assert texts(first.held_out) == texts(other.held_out)
    assert 10 < len(first.held_out) < 60
    assert texts(first.train) | texts(first.held_out) == texts(rows)
    more = split(
        write_rows(tmp_path / "more", train=[*rows, *({"text": f"new {n}", "label": "x"} for n in range(50))]),
        tmp_path / "3",
    )
    assert texts(first.held_out) <= texts(more.held_out)


def test_the_same_text_is_never_on_both_sides_whatever_its_label(tmp_path: Path) -> None:
    rows = [{"text": f"t {n % 40}", "label": str(n)} for n in range(200)]
    parted = split(write_rows(tmp_path / "a", train=rows), tmp_path / "1", with_validation=True)
    assert parted.validation is not None
    sides = [texts(parted.train), texts(parted.validation), texts(parted.held_out)]
    assert sum(map(len, sides)) == 40
    assert parted.repeated == 0


@pytest.mark.parametrize(
    ("row", "learned"),
    [
        ({"tokens": ["a", "b"]}, "ner_tags"),
        ({"text": "a b"}, "entities"),
        ({"sentence1": "a", "sentence2": "b"}, "score"),
        ({"image": b"a"}, "objects"),
    ],
)
def test_what_is_to_be_learned_does_not_make_another_example(tmp_path: Path, row: Row, learned: str) -> None:
    assert digest_of({**row, learned: [1, 2]}, tmp_path) == digest_of({**row, learned: [2, 1]}, tmp_path)
    assert digest_of({**row, "more": 1}, tmp_path) != digest_of(row, tmp_path)


def test_rows_that_stand_in_train_and_test_are_counted(tmp_path: Path) -> None:
    rows = topics(30)
    parted = split(
        write_rows(tmp_path / "a", train=rows, test=[*rows[:4], {"text": "new", "label": "food"}]), tmp_path / "1"
    )
    assert parted.repeated == 4
    assert "4 of the 5 rows of test stand in train" in parted.notes[0]


def test_splits_that_are_there_are_taken(tmp_path: Path) -> None:
    rows = topics(30)
    root = write_rows(tmp_path / "a", train=rows[:20], validation=rows[20:25], test=rows[25:])
    parted = split(root, tmp_path / "1")
    assert [len(each or ()) for each in (parted.train, parted.validation, parted.held_out)] == [20, 5, 5]
    (root / "test.jsonl").unlink()
    held = split(root, tmp_path / "2")
    assert (held.held_out_name, len(held.held_out), held.validation) == ("validation", 5, None)


def test_files_count_by_their_content_wherever_they_lie(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / f"{name}.png").write_bytes(b"the same picture")
    digests = {
        digest_of({"image": str(tmp_path / name / f"{name}.png"), "label": name}, tmp_path) for name in ("a", "b")
    }
    assert len(digests) == 1


def test_no_train_split_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidArgument) as caught:
        split(write_rows(tmp_path / "a", test=topics(3)), tmp_path / "1")
    assert "no split `train`" in caught.value.message


def test_rows_survive_as_they_were(tmp_path: Path) -> None:
    rows = [{"text": 'é\n"quoted"', "label": "x", "n": 1.5, "list": [1, None]}, {"text": "", "label": None}]
    parted = split(write_rows(tmp_path / "a", train=rows, test=topics(3)), tmp_path / "1")
    assert list(parted.train) == json.loads(json.dumps(rows))
    assert parted.train[1:][0] == rows[1]
