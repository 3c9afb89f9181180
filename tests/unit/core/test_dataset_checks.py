"""What is wrong with rows that a model is to learn from: each by its file and line, all counted."""

import io
import json
import math
import struct
import zlib
from collections.abc import Mapping

import pytest
from PIL import Image

from modelzoo.datasets.checking import Checked, check_dataset
from modelzoo.datasets.repeats import Repeats
from modelzoo.errors import InvalidArgument


def png(width: int = 2, height: int = 2) -> bytes:
    out = io.BytesIO()
    Image.new("RGB", (width, height)).save(out, "PNG")
    return out.getvalue()


PNG = png()
SVG = b'<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"/>'
# A header alone: what it promises would take 2.7 gigabytes.
HUGE = PNG[:16] + struct.pack(">II", 30_000, 30_000) + PNG[24:29]
HUGE += struct.pack(">I", zlib.crc32(HUGE[12:])) + PNG[33:]
TWO = '{"text": "a", "label": "x"}\n{"text": "b", "label": "y"}\n'


def wav(samples: int = 800, rate_hz: int = 16_000, last: float = 0.5) -> bytes:
    """A sound of 32-bit floats, the last of them as given."""
    data = struct.pack(f"<{samples}f", *[0.1] * (samples - 1), last) if samples else b""
    form = struct.pack("<HHIIHH", 3, 1, rate_hz, rate_hz * 4, 4, 32)
    chunks = b"WAVEfmt " + struct.pack("<I", len(form)) + form + b"data" + struct.pack("<I", len(data)) + data
    return b"RIFF" + struct.pack("<I", len(chunks)) + chunks


WAV = wav()


def check(files: Mapping[str, bytes | str], *needed: str) -> Checked:
    stored = {path: data.encode() if isinstance(data, str) else data for path, data in files.items()}
    return check_dataset({path: len(data) for path, data in stored.items()}, lambda p: io.BytesIO(stored[p]), needed)


def refused(files: Mapping[str, bytes | str], *needed: str) -> InvalidArgument:
    with pytest.raises(InvalidArgument) as caught:
        check(files, *needed)
    return caught.value


def parquet(**columns: list[object]) -> bytes:
    import pyarrow
    from pyarrow import parquet

    out = io.BytesIO()
    parquet.write_table(pyarrow.Table.from_arrays(list(map(pyarrow.array, columns.values())), list(columns)), out)
    return out.getvalue()


def coco(**changes: object) -> str:
    document = {
        "images": [{"id": 1, "file_name": "a.png"}],
        "annotations": [{"image_id": 1, "category_id": 7, "bbox": [0, 0, 1, 1]}],
        "categories": [{"id": 7, "name": "cat"}],
    }
    return json.dumps(document | changes)


@pytest.mark.parametrize(
    "files",
    [
        {"train.jsonl": "\ufeff" + TWO},
        {"data.csv": "\ufefftext,label\na,x\nb,y\n"},
        {"data.parquet": parquet(text=["a", "b"], label=["x", "y"])},
        {"train/x/1.png": PNG + b"1", "train/y/2.png": PNG + b"2"},
        {"train/a.json": coco(), "train/a.png": PNG},
        {"m.jsonl": '{"audio": "c/1.wav", "text": "one"}\n', "c/1.wav": WAV},
    ],
    ids=lambda files: next(iter(files)),
)
def test_what_can_be_learned_from_passes_with_nothing_to_note(files: dict[str, bytes | str]):
    checked = check(files)
    assert (checked.notes, checked.repeated) == ((), {})
    assert [split.rows for split in checked.facts.splits] in ([1], [2])


@pytest.mark.parametrize(
    ("files", "says"),
    [
        ({"a.jsonl": TWO + '{"text": "c", "label": 3}\n'}, "a.jsonl, line 3: `label` is a number"),
        (
            {"a.jsonl": TWO + '{"text": "c", "n": 1e999}\n'},
            "a.jsonl, line 3: `n` is not a finite number. Mend them, or leave them out.",
        ),
        ({"a.jsonl": TWO + '{"text": "c", "v": [1, [-1e999]]}\n'}, "line 3: `v` is not a finite number"),
        ({"a.parquet": parquet(n=[1.0, float("nan")])}, "a.parquet, row 2: `n` is not a finite number"),
        ({"a.jsonl": TWO.encode("utf-16")}, "a.jsonl is UTF-16: convert it"),
        ({"a.csv": b"x,y\nok,1\n\xe9,2\n"}, "a.csv is not UTF-8"),
        ({"a.csv": "x,x\n1,2\n"}, "several columns called 'x': rename them"),
        ({"a.jsonl": b"\x80\x04\x95\x0a\x00pickled\n"}, "a.jsonl, line 1: it is not UTF-8"),
        ({"a.parquet": b"\x80\x04\x95\x0a\x00pickled."}, "truncated, or something else: write it again"),
        ({"a.parquet": parquet(x=[1])[:-9]}, "truncated, or something else: write it again"),
        ({"a.jsonl": ""}, "its files have no rows: add some"),
        ({}, "it has no rows: add *.jsonl"),
        ({"a.parquet": parquet(x=[1], y=[2]).replace(b"y", b"x")}, "a.parquet"),
        ({"x/1.png": PNG, "y/2.png": b""}, "y/2.png: y/2.png is empty"),
        ({"x/1.png": PNG, "y/2.png": b"\x80\x04\x95pickled."}, "y/2.png is not a picture"),
        ({"m.jsonl": '{"audio": "../1.wav", "text": "x"}\n'}, "outside of the dataset"),
        (
            {"m.jsonl": '{"audio": "1.wav"}\n{"audio": "2.wav"}\n', "1.wav": WAV},
            "m.jsonl, line 2: `audio` names '2.wav'",
        ),
        ({"x/1.png": PNG, "y/2.png": SVG}, "y/2.png: y/2.png is not a picture that can be read: it is an SVG drawing"),
        ({"x/1.png": PNG, "y/2.png": png(50, 50)[:-30]}, "y/2.png: y/2.png is a PNG picture that breaks off"),
        ({"x/1.png": PNG, "y/2.png": HUGE}, "y/2.png: y/2.png has 30000 x 30000 pixels; at most 67,108,864 are"),
        ({"a.parquet": parquet(image=[PNG, SVG])}, "a.parquet, row 2: `image` is not a picture that can be read"),
        ({"a.parquet": parquet(scan=[png(50, 50)[:-30]])}, "a.parquet, row 1: `scan` is a PNG picture that breaks off"),
        (
            {"a.parquet": parquet(image=[{"bytes": PNG, "path": "1.png"}, {"bytes": HUGE, "path": "2.png"}])},
            "a.parquet, row 2: `image` has 30000 x 30000 pixels",
        ),
        ({"m.jsonl": '{"audio": "1.wav"}\n', "1.wav": PNG}, "1.wav is not a sound"),
        ({"a.parquet": parquet(audio=[WAV, wav(0)])}, "a.parquet, row 2: `audio` is a WAV sound without a sample"),
        ({"a.parquet": parquet(audio=[{"bytes": PNG, "path": None}])}, "a.parquet, row 1: `audio` is no sound"),
        (
            {"m.jsonl": '{"audio": "1.wav"}\n', "1.wav": wav(0)},
            "m.jsonl, line 1: 1.wav is a WAV sound without a sample",
        ),
        ({"m.jsonl": '\n{"audio": "1.wav"}\n', "1.wav": wav(last=math.nan)}, "m.jsonl, line 2: 1.wav holds no number"),
        ({"m.csv": "path,text\n1.wav,x\n", "1.wav": wav(8, 1)}, "m.csv, line 2: 1.wav has 1 samples a second"),
        ({"m.jsonl": '{"audio": "1.wav"}\n', "1.wav": WAV[:-2000]}, "line 1: 1.wav breaks off"),
        (
            {"m.jsonl": '{"audio": "1.wav"}\n{"audio": "2.wav"}\n', "1.wav": WAV, "2.wav": wav(7_204_000, 4_000)},
            "m.jsonl, line 2: 2.wav lasts 1,801 s",
        ),
        (
            {"a.jsonl": '{"tokens": ["a"], "tags": ["O"]}\n{"tokens": ["a", "b"], "tags": ["O"]}\n'},
            "a.jsonl, line 2: it has 2 `tokens` and 1 `tags`",
        ),
        ({"a.json": coco(), "b.png": PNG}, "a.json, image 1: there is no picture 'a.png'"),
        ({"a.json": coco(annotations=[{"image_id": 2}]), "a.png": PNG}, "a.json, annotation 1: it names"),
        (
            {"a.json": coco(annotations=[{"image_id": 1, "category_id": 7, "bbox": [0, 0, 0, 1]}]), "a.png": PNG},
            "a.json, annotation 1: its `bbox` is not x, y, width, height",
        ),
        (
            {
                "a.json": coco(images=[{"id": 1, "file_name": "a.png", "width": 10, "height": 20}]).replace(
                    "[0, 0, 1, 1]", "[3, -5, 2, 5]"
                ),
                "a.png": PNG,
            },
            "a.json, annotation 1: its `bbox` lies outside of its picture of 10 x 20 pixels",
        ),
    ],
)
def test_what_cannot_be_used_is_refused_with_its_place(files: dict[str, bytes | str], says: str):
    error = refused(files)
    assert (error.reason, says in error.message) == ("DATASET_INVALID", True), error.message


@pytest.mark.parametrize(
    ("files", "says"),
    [
        ({"a.jsonl": '{"text": "a", "label": "x"}\n' * 3}, "all rows of train have the label 'x'"),
        ({"train/x/1.png": PNG, "train/x/2.png": PNG + b"2"}, "label 'x'"),
        ({"test.jsonl": TWO}, "no rows to train on, but test"),
    ],
)
def test_what_teaches_nothing_is_unsuitable(files: dict[str, bytes | str], says: str):
    error = refused(files)
    assert (error.reason, says in error.message) == ("DATASET_UNSUITABLE", True), error.message


@pytest.mark.parametrize(
    ("objects", "says"),
    [
        ({"label": ["cat"]}, "`objects` is not a list of objects"),
        (["cat"], "object 1 of `objects` has no `label`"),
        ([{"label": "cat", "box": [0, 0, 1, 1]}, {"box": [0, 0, 1, 1]}], "object 2 of `objects` has no `label`"),
        ([{"label": "cat", "box": [0, 0, -1, 1]}], "the `box` of object 1 of `objects` is not x, y, width, height"),
        ([{"label": "cat", "box": "0 0 1 1"}], "the `box` of object 1 of `objects` is not x, y, width, height"),
    ],
)
def test_objects_of_other_formats_are_looked_at_where_they_are_needed(objects: object, says: str):
    files: dict[str, bytes | str] = {"a.jsonl": json.dumps({"image": "a.png", "objects": objects}), "a.png": PNG}
    assert check(files).facts.format == "jsonl"
    assert f"a.jsonl, line 1: {says}" in refused(files, "image", "objects").message


def test_faults_of_every_kind_are_counted_together_and_twenty_are_shown():
    bad = 'no\n{"text": 1, "label": "x"}\n{"text": "", "label": "x"}\n'
    error = refused({"train.jsonl": TWO + bad * 10, "test.jsonl": "no\n"}, "text|sentence", "label")
    assert (error.metadata["faults"], error.message.count("line ") >= 20) == ("31", True)
    assert "test.jsonl, line 1" in error.message
    assert "train.jsonl, line 5: its `text` is empty" in error.message
    assert "and 11 more" in error.message


def test_pictures_without_a_folder_of_a_label_are_named_where_others_have_one():
    files: dict[str, bytes | str] = {"train/x/1.png": PNG, "train/y/2.png": PNG + b"2", "train/3.png": PNG + b"3"}
    error = refused(files, "image|img", "label|class")
    assert (error.metadata["faults"], "train/3.png: it has no `label` or `class`" in error.message) == ("1", True)


def test_missing_files_are_counted_too():
    rows = "".join(f'{{"audio": "{n}.wav", "text": "x"}}\n' for n in range(50))
    error = refused({"m.jsonl": rows, "0.wav": WAV})
    assert (error.metadata["faults"], "and 29 more" in error.message) == ("49", True)


def test_rows_in_train_and_test_are_counted_and_shown_whatever_their_label_is():
    test = '{"label": "y", "text": "a"}\n{"text": "c", "label": "x"}\n'
    checked = check({"train.jsonl": TWO + TWO, "test.jsonl": test})
    assert checked.repeated == {"test": 1}
    assert "test.jsonl, line 1 is train.jsonl, line 1" in checked.notes[0]


def test_pictures_repeat_by_their_content():
    files = {"train/x/1.png": PNG + b"1", "train/y/2.png": PNG, "test/x/3.png": PNG + b"1", "test/y/1.png": PNG + b"4"}
    assert check(files).repeated == {"test": 1}


def test_pictures_repeat_whatever_is_marked_in_them():
    files: dict[str, bytes | str] = {"train/a.png": PNG, "test/a.png": PNG, "train/a.json": coco()}
    files["test/a.json"] = coco(annotations=[])
    assert check(files).repeated == {"test": 1}


def test_sounds_repeat_whatever_is_said_of_them():
    rows = ('{"audio": "1.wav", "text": "one"}\n', '{"audio": "2.wav", "text": "two", "speaker": "x"}\n')
    checked = check({"train.jsonl": rows[0], "test.jsonl": rows[1], "1.wav": WAV, "2.wav": WAV})
    assert checked.repeated == {"test": 1}


def test_one_example_with_two_labels_and_labels_that_train_lacks_are_noted():
    notes = check(
        {"train.jsonl": TWO + '{"text": "a", "label": "y"}\n', "test.jsonl": '{"text": "d", "label": "z"}'}
    ).notes
    assert "train.jsonl, line 1 (x) is train.jsonl, line 3 (y)" in notes[0]
    assert notes[1].endswith("which nothing can learn: z")


def test_memory_is_bounded_and_what_was_not_compared_is_said():
    from modelzoo.datasets.placed import Place

    repeats = Repeats(remembered_max=2)
    for number in range(4):
        repeats.add("train", Place("a", "line", number), bytes([number]), None)
    assert (len(repeats._seen), repeats.is_complete) == (2, False)


def test_damaged_parquet_says_after_which_row():
    data = bytearray(parquet(text=[f"{n} {n * n}" for n in range(2000)]))
    data[60:4000] = bytes(3940)
    error = refused({"a.parquet": bytes(data)})
    assert (error.reason, "a.parquet" in error.message) == ("DATASET_INVALID", True)
