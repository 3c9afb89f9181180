"""Pictures of rows, from where datasets have them, by way of the store of rows."""

import io
import json
from pathlib import Path
from typing import Any

import pyarrow as arrow
import pytest
from PIL import Image
from pyarrow import parquet

from modelzoo.datasets import stream_rows
from modelzoo.errors import InvalidArgument
from zoo_trainer.recipes.pictures import picture_of
from zoo_trainer.rows import Rows, store_rows

RED, BLUE = (255, 0, 0), (0, 0, 255)


def png(colour: tuple[int, int, int], side: int = 4) -> bytes:
    out = io.BytesIO()
    Image.new("RGB", (side, side), colour).save(out, "PNG")
    return out.getvalue()


def write(root: Path, files: dict[str, bytes]) -> Path:
    for name, content in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(content)
    return root


def stored(root: Path, folder: Path) -> Rows:
    return store_rows(stream_rows(root)["train"](), folder / "rows.jsonl", root)


def colours(rows: Rows) -> list[Any]:
    return [picture_of(row, "image", rows.root).getpixel((0, 0)) for row in rows]


def on_the_hub(path: Path, pictures: list[dict[str, Any] | None], labels: list[int]) -> None:
    """As Hugging Face's datasets write them."""
    feature = {"image": {"_type": "Image"}, "label": {"names": ["red", "blue"], "_type": "ClassLabel"}}
    kind = arrow.struct({"bytes": arrow.binary(), "path": arrow.string()})
    table = arrow.table({"image": arrow.array(pictures, kind), "label": labels})
    path.parent.mkdir(parents=True, exist_ok=True)
    meant = {"huggingface": json.dumps({"info": {"features": feature}})}
    parquet.write_table(table.replace_schema_metadata(meant), path)


def test_folders_and_parquet_have_the_same_pictures_under_the_same_labels(tmp_path: Path) -> None:
    folders = stored(write(tmp_path / "a", {"blue/1.png": png(BLUE), "red/1.png": png(RED)}), tmp_path)
    pictures = [{"bytes": png(BLUE), "path": "x.png"}, {"bytes": png(RED), "path": None}]
    on_the_hub(tmp_path / "b" / "train.parquet", pictures, [1, 0])
    (tmp_path / "own").mkdir()
    hub = stored(tmp_path / "b", tmp_path / "own")
    assert colours(folders) == colours(hub) == [BLUE, RED]
    assert [row["label"] for row in folders] == [row["label"] for row in hub] == ["blue", "red"]
    # The same example is held out, whatever form it comes in.
    assert [folders.digest(n) for n in range(2)] == [hub.digest(n) for n in range(2)]


def test_plain_bytes_and_paths_beside_the_rows_are_pictures_too(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    parquet.write_table(arrow.table({"image": [png(RED)]}), tmp_path / "a" / "train.parquet")
    assert colours(stored(tmp_path / "a", tmp_path)) == [RED]
    named = write(tmp_path / "b", {"train.jsonl": b'{"image": "p/1.png"}\n', "p/1.png": png(BLUE)})
    assert colours(stored(named, tmp_path)) == [BLUE]
    (named / "train.jsonl").unlink()
    on_the_hub(named / "train.parquet", [{"bytes": None, "path": "p/1.png"}], [1])
    assert colours(stored(named, tmp_path)) == [BLUE]


def test_a_picture_is_upright(tmp_path: Path) -> None:
    out, exif = io.BytesIO(), Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (4, 2)).save(out, "JPEG", exif=exif)
    assert picture_of({"image": out.getvalue()}, "image", tmp_path).size == (2, 4)


def test_an_object_that_looks_like_stored_bytes_stays_what_it_is(tmp_path: Path) -> None:
    odd = {"\0bytes": "not base64!"}
    assert list(store_rows([{"text": odd}], tmp_path / "rows.jsonl", tmp_path)) == [{"text": odd}]


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ("a.png", r"a\.png is a PNG picture that breaks off or is damaged"),
        ("b.png", "b.png is no picture that is read here: it looks like an SVG drawing"),
        ("/etc/hostname", "outside of the dataset"),
        ("../secret.png", "outside of the dataset"),
        ("none.png", "not in the dataset"),
        ("a\0.png", "not in the dataset"),
        (b"", "a picture in `image` has no bytes"),
        ({"bytes": b"%PDF-1.4", "path": "scan.png"}, "scan.png is no picture that is read here: it looks like a PDF"),
        ({"bytes": None, "path": None}, "`image` of a row is no picture"),
        (None, "`image` of a row is no picture"),
        (7, "`image` of a row is no picture"),
    ],
    ids=str,
)
def test_what_is_no_picture_of_the_dataset_is_named(tmp_path: Path, value: Any, words: str) -> None:
    root = write(
        tmp_path / "data", {"a.png": png(RED, 64)[:-40], "b.png": b"<svg xmlns='http://www.w3.org/2000/svg'/>"}
    )
    write(tmp_path, {"secret.png": png(RED)})
    with pytest.raises(InvalidArgument, match=words) as caught:
        picture_of({"image": value}, "image", root)
    assert caught.value.reason == "DATASET_UNSUITABLE"
