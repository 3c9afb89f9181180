"""Rows of a directory, whatever its format."""

import json
from pathlib import Path
from typing import Any

import pyarrow as arrow
import pytest
from pyarrow import parquet

from modelzoo.datasets import stream_rows
from modelzoo.errors import InvalidArgument


def rows_of(root: Path, split: str = "train") -> list[dict[str, Any]]:
    return [dict(row) for row in stream_rows(root)[split]()]


def test_text_files_of_several_parts_are_one_split(tmp_path: Path) -> None:
    (tmp_path / "train-0.jsonl").write_text('{"text": "a"}\n')
    (tmp_path / "train-1.jsonl").write_text('{"text": "b"}\n\n{"text": "c"}\n')
    (tmp_path / "test.jsonl").write_text('{"text": "d"}\n')
    assert [row["text"] for row in rows_of(tmp_path)] == ["a", "b", "c"]
    assert [row["text"] for row in rows_of(tmp_path, "test")] == ["d"]


def test_csv_and_parquet_give_rows_by_name(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "train.csv").write_text('text,label\n"x, y",1\n')
    assert rows_of(tmp_path / "a") == [{"text": "x, y", "label": "1"}]
    (tmp_path / "b").mkdir()
    table = arrow.table({"text": ["x", None], "n": [1, 2]})
    parquet.write_table(table, tmp_path / "b" / "train.parquet")
    assert rows_of(tmp_path / "b") == [{"text": "x", "n": 1}, {"text": None, "n": 2}]


def test_pictures_in_folders_are_labelled_by_them(tmp_path: Path) -> None:
    for label in ("cat", "dog"):
        (tmp_path / "train" / label).mkdir(parents=True)
        (tmp_path / "train" / label / "1.png").touch()
    found = rows_of(tmp_path)
    assert [row["label"] for row in found] == ["cat", "dog"]
    assert Path(found[0]["image"]) == tmp_path / "train" / "cat" / "1.png"


def coco(folder: Path, file_name: str) -> None:
    document = {
        "images": [{"id": 1, "file_name": file_name}, {"id": 2, "file_name": "b.png"}],
        "annotations": [
            {"image_id": 1, "category_id": 5, "bbox": [1, 2, 3, 4]},
            {"image_id": 2, "category_id": 5, "bbox": [1, 2, 3, 4], "iscrowd": 1},
        ],
        "categories": [{"id": 5, "name": "cat"}],
    }
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "train.json").write_text(json.dumps(document))
    for name in ("a.png", "b.png"):
        (folder / name).touch()


def test_objects_come_with_their_pictures(tmp_path: Path) -> None:
    coco(tmp_path, "a.png")
    first, second = rows_of(tmp_path)
    assert first == {"image": str(tmp_path / "a.png"), "objects": [{"label": "cat", "box": [1, 2, 3, 4]}]}
    assert second["objects"] == [{"label": "cat", "box": [1, 2, 3, 4], "crowd": True}]


@pytest.mark.parametrize("name", ["../../etc/passwd.png", "/etc/passwd.png", "missing.png"])
def test_pictures_outside_of_the_dataset_are_refused(tmp_path: Path, name: str) -> None:
    coco(tmp_path / "data", name)
    with pytest.raises(InvalidArgument) as caught:
        rows_of(tmp_path / "data")
    assert caught.value.reason == "DATASET_INVALID"


def test_sounds_of_a_manifest_are_found_beside_it_and_texts_stay_texts(tmp_path: Path) -> None:
    (tmp_path / "clips").mkdir()
    (tmp_path / "clips" / "a.wav").touch()
    rows = [{"audio": "clips/a.wav", "text": "listen to song.wav"}, {"audio": "../../a.wav", "text": "gone.wav"}]
    (tmp_path / "train.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    first, second = rows_of(tmp_path)
    assert first == {"audio": str(tmp_path / "clips" / "a.wav"), "text": "listen to song.wav"}
    assert second == rows[1]


def test_bad_rows_are_named_once_all_are_read(tmp_path: Path) -> None:
    (tmp_path / "train.jsonl").write_text('{"text": "a"}\nnonsense\n{"text": "c"}\n')
    rows = stream_rows(tmp_path)["train"]()
    read = [next(rows)["text"], next(rows)["text"]]
    with pytest.raises(InvalidArgument, match="line 2"):
        next(rows)
    assert read == ["a", "c"]


def test_a_cut_off_parquet_file_is_refused(tmp_path: Path) -> None:
    parquet.write_table(arrow.table({"text": ["x"] * 100}), tmp_path / "train.parquet")
    content = (tmp_path / "train.parquet").read_bytes()
    (tmp_path / "train.parquet").write_bytes(content[:-20])
    with pytest.raises(InvalidArgument, match="truncated"):
        rows_of(tmp_path)


@pytest.mark.parametrize("holder", [lambda each: {"_type": "Sequence", "feature": each}, lambda each: [each]])
def test_numbers_in_lists_get_the_names_of_their_classes(tmp_path: Path, holder: Any) -> None:
    names = {"_type": "ClassLabel", "names": ["O", "B-x", "I-x"]}
    features = {"ner_tags": holder(names), "meta": {"a": {"dtype": "int64", "_type": "Value"}}}
    table = arrow.table({"ner_tags": [[1, 2, 0], []], "meta": [{"a": 1}] * 2})
    meant = {"huggingface": json.dumps({"info": {"features": features}})}
    parquet.write_table(table.replace_schema_metadata(meant), tmp_path / "train.parquet")
    assert [row["ner_tags"] for row in rows_of(tmp_path)] == [["B-x", "I-x", "O"], []]
