"""What is read of datasets: formats, splits, columns, rows and labels; and rows that cannot be read, by their lines."""

import io
import json
from collections.abc import Mapping
from typing import Any

import pytest

from modelzoo.datasets import DatasetFacts, Feature, Split, read_dataset
from modelzoo.errors import InvalidArgument

PNG = b"\x89PNG\r\n\x1a\n"
COCO: dict[str, Any] = {
    "images": [{"id": 1, "file_name": "a.png"}, {"id": 2, "file_name": "b.png"}],
    "annotations": [{"image_id": 1, "category_id": 7, "bbox": [0, 0, 1, 1]}, {"image_id": 1, "category_id": 8}],
    "categories": [{"id": 7, "name": "cat"}, {"id": 8, "name": "dog"}],
}


def read(files: Mapping[str, bytes | str], **options: int) -> DatasetFacts:
    stored = {path: data.encode() if isinstance(data, str) else data for path, data in files.items()}
    return read_dataset({path: len(data) for path, data in stored.items()}, lambda p: io.BytesIO(stored[p]), **options)


def rows(facts: DatasetFacts) -> dict[str, int | None]:
    return {split.name: split.rows for split in facts.splits}


def refused(files: Mapping[str, bytes | str]) -> InvalidArgument:
    with pytest.raises(InvalidArgument) as caught:
        read(files)
    assert caught.value.reason == "DATASET_INVALID"
    return caught.value


def test_json_lines_have_columns_with_types_and_labels():
    train = '{"text": "a", "label": "x", "n": 1}\n\n{"text": "b", "label": "y", "n": 2.5, "more": null}\n'
    facts = read({"train.jsonl": "\ufeff" + train, "data/test-00000-of-00001.jsonl": '{"text": "c", "label": 3}'})
    assert facts.format == "jsonl"
    assert facts.features == (
        Feature("text", "string", optional=False),
        Feature("label", "mixed", optional=False),
        Feature("n", "number", optional=True),
        Feature("more", "null", optional=True),
    )
    assert facts.splits == (
        Split("test", 1, 25, 1, {"3": 1}),
        Split("train", 2, len(train) + 3, 1, {"x": 1, "y": 1}),
    )


def test_comma_separated_values_may_hold_line_ends_and_quotes():
    facts = read({"valid.csv": 'text,label\r\n"a\nb ""c""",x\r\n,y\r\n', "train/one.csv": "text,label\nd,x\n"})
    assert (facts.format, rows(facts)) == ("csv", {"train": 1, "validation": 2})
    assert facts.features == (Feature("text", "string", optional=True), Feature("label", "string", optional=False))


def test_tabs_separate_where_the_name_says_so():
    assert [feature.name for feature in read({"a.tsv": "x\ty\n1,5\t2\n"}).features] == ["x", "y"]


def test_parquet_is_read_from_its_footer_alone():
    import pyarrow
    from pyarrow import parquet

    out = io.BytesIO()
    parquet.write_table(pyarrow.table({"text": ["a", "b"], "n": [1, 2], "v": [[1.0], [2.0]]}), out)
    facts = read(
        {"data/train-00000-of-00002.parquet": out.getvalue(), "data/train-00001-of-00002.parquet": out.getvalue()}
    )
    assert rows(facts) == {"train": 4}
    assert [(feature.name, feature.type) for feature in facts.features] == [
        ("text", "string"),
        ("n", "integer"),
        ("v", "list"),
    ]
    assert "truncated" in refused({"a.parquet": out.getvalue()[:-1]}).message
    assert "cannot be read" in refused({"a.parquet": b"PAR1" + bytes(50) + b"\x05\0\0\0PAR1"}).message
    assert "truncated" in refused({"a.parquet": b""}).message


def test_a_parquet_column_lacks_values_only_where_some_row_has_none():
    import pyarrow
    from pyarrow import parquet

    whole, holed = io.BytesIO(), io.BytesIO()
    parquet.write_table(pyarrow.table({"text": ["a", "b"], "image": [b"1", b"2"]}), whole)
    parquet.write_table(pyarrow.table({"text": ["c", None], "image": [b"3", b"4"]}), holed)
    files = {"train.parquet": whole.getvalue(), "test.parquet": whole.getvalue()}
    assert [feature.optional for feature in read(files).features] == [False, False]
    files["train-2.parquet"] = holed.getvalue()
    assert {feature.name for feature in read(files).features if feature.optional} == {"text"}


def test_folders_of_pictures_are_their_labels():
    facts = read(
        {"train/cat/1.png": PNG, "train/cat/2.jpg": PNG, "train/dog/1.png": PNG, "test/dog/9.png": PNG, "README.md": ""}
    )
    assert facts.format == "image-folder"
    assert {split.name: split.labels for split in facts.splits} == {"test": {"dog": 1}, "train": {"cat": 2, "dog": 1}}
    assert [feature.name for feature in facts.features] == ["image", "label"]


def test_pictures_in_no_folder_have_no_labels():
    assert [feature.name for feature in read({"1.png": PNG, "2.png": PNG}).features] == ["image"]
    assert [feature.name for feature in read({"train/1.png": PNG}).features] == ["image"]


def test_coco_counts_pictures_and_what_is_on_them():
    facts = read({"train/_annotations.coco.json": json.dumps(COCO), "train/a.png": PNG, "train/b.png": PNG})
    assert (facts.format, rows(facts), facts.splits[0].labels) == ("coco", {"train": 2}, {"cat": 1, "dog": 1})


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"annotations": [{"image_id": 3, "category_id": 7}]}, "annotation 0"),
        ({"annotations": [{"image_id": 1, "category_id": 9}]}, "annotation 0"),
        ({"images": {}}, "COCO's form"),
        ({"categories": [{"id": 1}]}, "COCO's form"),
        ({"images": [{"id": []}]}, "COCO's form"),
    ],
)
def test_annotations_that_contradict_themselves_are_refused(change: dict[str, Any], says: str):
    assert says in refused({"a.json": json.dumps(COCO | change)}).message


def test_rows_that_name_sounds_beside_them_are_an_audio_manifest():
    manifest = '{"audio": "clips/1.wav", "text": "front"}\n'
    facts = read({"train/metadata.jsonl": manifest, "train/clips/1.wav": b"RIFF"})
    assert facts.format == "audio-manifest"
    assert [feature.type for feature in facts.features] == ["audio", "string"]
    assert read({"a.jsonl": manifest}).format == "jsonl"


@pytest.mark.parametrize(
    ("files", "says"),
    [
        ({}, "no rows"),
        ({"README.md": "x", "model.safetensors": "x"}, "no rows"),
        ({"a.jsonl": "", "b.jsonl": "\n"}, "no rows"),
        ({"a.csv": "x,y\n"}, "no rows"),
        ({"a.jsonl": "{}", "b.csv": "x\n1"}, "several formats (csv, jsonl)"),
        ({"a.jsonl": '{"a": 1}\n[1]\n{"a": NaN}\n{"a": 1, "a": 2}\n{"a"'}, "4 of its rows"),
        ({"a.jsonl": b'{"a": 1}\n\xff\n'}, "a.jsonl, line 2: it is not UTF-8"),
        ({"a.jsonl": "{" * 100_000}, "line 1"),
        ({"a.csv": "x,x\n1,2\n"}, "several columns called 'x'"),
        ({"a.csv": "x,\n1,2\n"}, "without a name"),
        ({"a.csv": "x,y\n1\n1,2\n1,2,3\n"}, "a.csv, line 2: it has 1 values"),
        ({"a.csv": b"x\n\xff\n"}, "not UTF-8"),
        ({"a.csv": 'x\n"a"b\n'}, "line 2"),
        ({"a.json": "[" * 100_000}, "not JSON"),
    ],
)
def test_what_is_no_dataset_is_refused_with_the_place(files: dict[str, bytes | str], says: str):
    assert says in refused(files).message


def test_twenty_faults_are_told_and_all_are_counted():
    error = refused({"a.jsonl": "x\n" * 50})
    assert (error.metadata["faults"], error.message.count("line ")) == ("50", 20)
    assert "and 30 more" in error.message


def test_a_row_without_an_end_takes_no_memory():
    class Endless(io.RawIOBase):
        read_bytes = 0

        def readable(self) -> bool:
            return True

        def readinto(self, buffer: Any) -> int:
            buffer[:] = b"x" * len(buffer)
            self.read_bytes += len(buffer)
            return len(buffer)

    for name in ("a.jsonl", "a.csv"):
        endless = Endless()
        with pytest.raises(InvalidArgument, match="line 1: it is over"):
            read_dataset({name: 1}, lambda _, file=endless: io.BufferedReader(file))  # type: ignore[misc]
        assert endless.read_bytes < 32 * 1024 * 1024


def test_what_is_too_much_to_count_is_not_counted():
    facts = read({"train.jsonl": '{"a": 1}\n' * 10, "test.jsonl": '{"a": 1}\n'}, scan_bytes_max=20)
    assert rows(facts) == {"test": 1, "train": None}


def test_more_labels_than_classes_would_have_are_not_kept():
    lines = "".join(json.dumps({"label": str(number)}) + "\n" for number in range(1001))
    assert read({"a.jsonl": lines}).splits[0].labels == {}
