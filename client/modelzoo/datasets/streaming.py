"""Rows of a dataset's directory, one after the other, in bounded memory, whatever its format."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

from modelzoo.datasets.layout import IMAGES, SOUNDS, dataset_invalid, folder_label, rows_by_split
from modelzoo.datasets.parquet import open_parquet, parquet_rows
from modelzoo.datasets.reading import coco_document, coco_object
from modelzoo.datasets.rows import Faults
from modelzoo.datasets.tables import Row, csv_rows, jsonl_rows

__all__ = ["Row", "paths_below", "stream_rows"]

PATH_CHARACTERS_MAX = 1024


def paths_below(root: Path) -> list[str]:
    """The files below `root` with `/` between the parts of their names, in order."""
    return sorted(path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file())


def stream_rows(root: Path) -> Mapping[str, Callable[[], Iterator[Row]]]:
    """By split, what gives its rows in order, each time anew; the first line's names are a row's keys.

    A picture of a folder is `image` (its path, absolute) and, below a folder of its label, `label`; one of COCO is
    `image` and `objects`, each with `label` and `box` (x, y, width, height in pixels), and `crowd` where the box is
    about many of them. In other rows, what names a sound or a picture that lies beside the file or below `root` is its
    path, absolute; Parquet's may be objects of `bytes` and `path`. The iterators raise DATASET_INVALID, which names
    files and lines.
    """
    format, splits = rows_by_split(paths_below(root))
    readers: Mapping[str, Callable[[Path, Sequence[str]], Iterator[Row]]] = {
        "parquet": _parquet_rows,
        "coco": _coco_rows,
        "image-folder": _folder_rows,
    }
    reader = readers.get(format, _table_rows)
    return {name: _Again(reader, root, paths) for name, paths in splits.items()}


class _Again:
    def __init__(
        self, reader: Callable[[Path, Sequence[str]], Iterator[Row]], root: Path, paths: Sequence[str]
    ) -> None:
        self._reader = reader
        self._root = root
        self._paths = paths

    def __call__(self) -> Iterator[Row]:
        return self._reader(self._root, self._paths)


def _table_rows(root: Path, paths: Sequence[str]) -> Iterator[Row]:
    faults = Faults()
    for path in paths:
        suffix = PurePosixPath(path).suffix.lower()
        with (root / path).open("rb") as file:
            if suffix in (".csv", ".tsv"):
                rows = csv_rows(path, file, "\t" if suffix == ".tsv" else ",", faults)
            else:
                rows = jsonl_rows(path, file, faults)
            for row in rows:
                yield {name: _located(root, path, value) for name, value in row.items()}
    faults.raise_if_any()


def _located(root: Path, path: str, value: Any) -> Any:
    match value:
        case {"bytes": None, "path": str() as name}:
            return {"bytes": None, "path": _located(root, path, name)}
        case str() as name if PurePosixPath(name).suffix.lower() in SOUNDS | IMAGES:
            inside = PurePosixPath(name)
        case _:
            return value
    if inside.is_absolute() or ".." in inside.parts or len(name) > PATH_CHARACTERS_MAX:
        return value
    places = (root / PurePosixPath(path).parent / inside, root / inside)
    return next((str(place) for place in places if place.is_file()), name)


def _parquet_rows(root: Path, paths: Sequence[str]) -> Iterator[Row]:
    for path in paths:
        with (root / path).open("rb") as file:
            for row in parquet_rows(open_parquet(path, file, (root / path).stat().st_size)):
                yield {name: _located(root, path, value) for name, value in row.items()}


def _folder_rows(root: Path, paths: Sequence[str]) -> Iterator[Row]:
    for path in paths:
        label = folder_label(path)
        yield {"image": str(root / path)} | ({} if label is None else {"label": label})


def _coco_rows(root: Path, paths: Sequence[str]) -> Iterator[Row]:
    for path in paths:
        with (root / path).open("rb") as file:
            document = coco_document(path, file, (root / path).stat().st_size)
        names = {category["id"]: str(category["name"]) for category in document["categories"]}
        objects: dict[int, list[dict[str, Any]]] = {}
        for annotation in document["annotations"]:
            found = coco_object(annotation, names[annotation["category_id"]])
            objects.setdefault(annotation["image_id"], []).append(found)
        for image in document["images"]:
            yield {"image": _beside(root, path, str(image["file_name"])), "objects": objects.get(image["id"], [])}


def _beside(root: Path, path: str, name: str) -> str:
    """Where a file lies that COCO's document names: beside it, below it, or below the dataset's folder."""
    inside = PurePosixPath(name)
    if inside.is_absolute() or ".." in inside.parts:
        raise dataset_invalid(f"{path} names a picture outside of the dataset: {name[:80]!a}")
    for place in (root / PurePosixPath(path).parent / inside, root / inside):
        if place.is_file():
            return str(place)
    found = next(root.rglob(inside.name), None)
    if found is None:
        raise dataset_invalid(f"{path} names a picture that is not there: {name[:80]!a}")
    return str(found)
