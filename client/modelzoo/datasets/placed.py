"""Rows of a dataset of any format, one after the other, each with the place that people find it at."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any, BinaryIO

from modelzoo.datasets.boxes import OBJECTS, box_problem
from modelzoo.datasets.layout import dataset_invalid, folder_label
from modelzoo.datasets.parquet import open_parquet, parquet_rows
from modelzoo.datasets.reading import Open, coco_document, coco_object
from modelzoo.datasets.rows import Faults
from modelzoo.datasets.tables import Row, numbered_rows

__all__ = ["Place", "Source", "placed_rows"]

# What a text begins with that is no UTF-8, and what it is.
_OTHER_ENCODINGS = (
    (b"\xff\xfe\0\0", "UTF-32"),
    (b"\0\0\xfe\xff", "UTF-32"),
    (b"\xff\xfe", "UTF-16"),
    (b"\xfe\xff", "UTF-16"),
)


@dataclass(frozen=True, slots=True)
class Source:
    """A dataset's files: their sizes in bytes by path, and what opens one for reading."""

    sizes: Mapping[str, int]
    open_file: Open

    def beside(self, path: str, name: str) -> str | None:
        """The file that `name` means where `path` says it: beside that file, or below the dataset's folder."""
        near = str(PurePosixPath(path).parent / name)
        return next((found for found in (near, str(PurePosixPath(name))) if found in self.sizes), None)


@dataclass(frozen=True, slots=True)
class Place:
    """A row's: `kind` is `line`, `row` or `image`, counted from 1; 0: the file is the row."""

    path: str
    kind: str
    number: int

    def __str__(self) -> str:
        return f"{self.path}, {self.kind} {self.number}" if self.number else self.path


def placed_rows(format: str, paths: Sequence[str], source: Source, faults: Faults) -> Iterator[tuple[Place, Row]]:
    """The rows of the files in order. Pictures and sounds stay paths in the dataset. Rows that cannot be read become
    faults; DATASET_INVALID where a whole file cannot be."""
    for path in paths:
        if format == "image-folder":
            yield Place(path, "picture", 0), {"image": path, "label": folder_label(path)}
            continue
        with source.open_file(path) as file:
            match format:
                case "parquet":
                    yield from _parquet(path, file, source.sizes[path])
                case "coco":
                    yield from _coco(path, file, source, faults)
                case _:
                    _check_encoding(path, file)
                    for number, row in numbered_rows(path, file, faults):
                        yield Place(path, "line", number), row


def _check_encoding(path: str, file: BinaryIO) -> None:
    start = file.read(4)
    file.seek(0)
    encoding = next((name for mark, name in _OTHER_ENCODINGS if start.startswith(mark)), None)
    if encoding:
        raise dataset_invalid(f"{path} is {encoding}: convert it (`iconv -f {encoding} -t UTF-8`)")


def _parquet(path: str, file: BinaryIO, size: int) -> Iterator[tuple[Place, Row]]:
    opened = open_parquet(path, file, size)
    names: list[str] = list(opened.schema_arrow.names)
    if repeated := sorted({name for name in names if names.count(name) > 1}):
        raise dataset_invalid(f"{path} has several columns called {', '.join(map(repr, repeated[:5]))}: rename them")
    number = 0
    try:
        for row in parquet_rows(opened):
            number += 1
            yield Place(path, "row", number), row
    # pyarrow raises every kind over damaged bytes, and what the reader of the rows raises is none of them.
    except (OSError, ValueError, KeyError) as error:
        raise dataset_invalid(f"{path} is damaged after row {number}: make it again") from error


def _coco(path: str, file: BinaryIO, source: Source, faults: Faults) -> Iterator[tuple[Place, Row]]:
    document = coco_document(path, file, source.sizes[path])
    names = {category["id"]: str(category["name"]) for category in document["categories"]}
    images = {image["id"]: image for image in document["images"]}
    objects: dict[int, list[dict[str, Any]]] = {}
    for number, annotation in enumerate(document["annotations"], 1):
        image, category = images.get(annotation.get("image_id")), annotation.get("category_id")
        if image is None or category not in names:
            faults.add_at(f"{path}, annotation {number}", "it names an image or a category that is not there")
        elif problem := box_problem(annotation.get("bbox"), image.get("width"), image.get("height")):
            faults.add_at(f"{path}, annotation {number}", f"its `bbox` {problem}")
        else:
            objects.setdefault(image["id"], []).append(coco_object(annotation, names[category]))
    for number, image in enumerate(document["images"], 1):
        place, name = Place(path, "image", number), image.get("file_name")
        found = source.beside(path, name) if isinstance(name, str) else None
        if found is None:
            faults.add_at(str(place), f"there is no picture {str(name)[:80]!a} in the dataset")
        else:
            yield place, {"image": found, OBJECTS: objects.get(image["id"], [])}
