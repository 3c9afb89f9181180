"""Reads a dataset's facts from its bytes, in bounded memory."""

import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import PurePosixPath
from typing import Any, BinaryIO, cast

from modelzoo.datasets.facts import DatasetFacts, Feature, Split
from modelzoo.datasets.layout import SOUNDS, dataset_invalid, folder_label, rows_by_split
from modelzoo.datasets.rows import Columns, Faults, Labels
from modelzoo.datasets.tables import Row, csv_rows, jsonl_rows

__all__ = ["Open", "coco_document", "coco_object", "read_dataset"]

# Of text, which has to be read to be counted: about ten seconds. What comes after is of the dataset, and not counted.
SCAN_BYTES_MAX = 512 * 1024 * 1024
# Of COCO's annotations, which are one JSON document.
DOCUMENT_BYTES_MAX = 256 * 1024 * 1024

Open = Callable[[str], BinaryIO]


def read_dataset(sizes: Mapping[str, int], open_file: Open, scan_bytes_max: int = SCAN_BYTES_MAX) -> DatasetFacts:
    """The facts of the dataset whose files have these paths and sizes in bytes; `open_file` opens one for reading.

    Raises DATASET_INVALID, which names files and lines, and what `open_file` raises.
    """
    reader = _Reader(sizes, open_file, scan_bytes_max)
    format, splits = rows_by_split(sizes)
    match format:
        case "parquet":
            from modelzoo.datasets.parquet import read_parquet

            return read_parquet(splits, sizes, open_file)
        case "coco":
            return reader.coco(splits)
        case "image-folder":
            return reader.image_folder(splits)
        case _:
            return reader.table(format, splits)


@dataclass(slots=True)
class _Reader:
    sizes: Mapping[str, int]
    open_file: Open
    left_bytes: int

    def table(self, format: str, splits: Mapping[str, list[str]]) -> DatasetFacts:
        columns, faults, sounds = Columns(), Faults(), Counter[str]()
        found = [self._split(name, paths, columns, faults, sounds) for name, paths in splits.items()]
        faults.raise_if_any()
        features = columns.features()
        if not features:
            raise dataset_invalid("its files have no rows: add some")
        if not sounds:
            return DatasetFacts(format, tuple(found), features)
        ((audio, _),) = sounds.most_common(1)
        named = tuple(replace(each, type="audio") if each.name == audio else each for each in features)
        return DatasetFacts("audio-manifest", tuple(found), named)

    def _split(self, name: str, paths: Iterable[str], columns: Columns, faults: Faults, sounds: Counter[str]) -> Split:
        rows, labels, complete, files = 0, Labels(), True, 0
        size_bytes = 0
        for path in paths:
            files, size_bytes = files + 1, size_bytes + self.sizes[path]
            if self.left_bytes < self.sizes[path]:
                complete = False
                continue
            self.left_bytes -= self.sizes[path]
            for row in self._rows(path, faults):
                rows += 1
                columns.add(row)
                labels.add(row)
                sounds.update(self._sounds(path, row))
        return Split(name, rows if complete else None, size_bytes, files, labels.counts())

    def _rows(self, path: str, faults: Faults) -> Iterator[Row]:
        suffix = PurePosixPath(path).suffix.lower()
        with self.open_file(path) as file:
            if suffix in (".csv", ".tsv"):
                yield from csv_rows(path, file, "\t" if suffix == ".tsv" else ",", faults)
            else:
                yield from jsonl_rows(path, file, faults)

    def _sounds(self, path: str, row: Row) -> Iterator[str]:
        """The columns of the row that name a sound file, from the manifest's folder or from the dataset's."""
        for name, value in row.items():
            if isinstance(value, str) and PurePosixPath(value).suffix.lower() in SOUNDS:
                beside = str(PurePosixPath(path).parent / value)
                if beside in self.sizes or value in self.sizes:
                    yield name

    def image_folder(self, splits: Mapping[str, list[str]]) -> DatasetFacts:
        found: list[Split] = []
        labelled = unlabelled = 0
        for name, paths in splits.items():
            labels = Labels()
            for path in paths:
                label = folder_label(path)
                if label is None:
                    unlabelled += 1
                else:
                    labelled += 1
                    labels.count(label)
            found.append(Split(name, len(paths), sum(self.sizes[path] for path in paths), len(paths), labels.counts()))
        image = Feature("image", "image", optional=False)
        label = (Feature("label", "string", optional=unlabelled > 0),) if labelled else ()
        return DatasetFacts("image-folder", tuple(found), (image, *label))

    def coco(self, splits: Mapping[str, list[str]]) -> DatasetFacts:
        found = [self._coco_split(name, paths) for name, paths in splits.items()]
        features = (Feature("image", "image", optional=False), Feature("objects", "list", optional=False))
        return DatasetFacts("coco", tuple(found), features)

    def _coco_split(self, name: str, paths: list[str]) -> Split:
        images, labels = 0, Labels()
        for path in paths:
            document = self._coco_document(path)
            names = {category["id"]: str(category["name"]) for category in document["categories"]}
            ids = {image["id"] for image in document["images"]}
            for number, annotation in enumerate(document["annotations"]):
                if annotation.get("image_id") not in ids or annotation.get("category_id") not in names:
                    raise dataset_invalid(
                        f"annotation {number} of {path} names an image or a category that is not there"
                    )
                labels.count(names[annotation["category_id"]])
            images += len(ids)
        return Split(name, images, sum(self.sizes[path] for path in paths), len(paths), labels.counts())

    def _coco_document(self, path: str) -> dict[str, Any]:
        with self.open_file(path) as file:
            return coco_document(path, file, self.sizes[path])


def coco_document(path: str, file: BinaryIO, size: int) -> dict[str, Any]:
    """The document of COCO's form that the file holds; DATASET_INVALID where it is something else."""
    if size > DOCUMENT_BYTES_MAX:
        raise dataset_invalid(f"{path} is over {DOCUMENT_BYTES_MAX} bytes: divide its pictures among several files")
    try:
        document: Any = json.loads(file.read())
    except (ValueError, RecursionError) as error:
        raise dataset_invalid(f"{path} is not JSON") from error
    if not _is_coco(document):
        raise dataset_invalid(
            f"{path} is not in COCO's form: an object with lists `images` and `categories`, whose items have an "
            "`id`, and `annotations`; rows one a line belong in *.jsonl"
        )
    return document


def coco_object(annotation: Mapping[str, Any], label: str) -> dict[str, Any]:
    """What is in a picture, as a row has it; `crowd` only where it is one."""
    crowd = {"crowd": True} if annotation.get("iscrowd") else {}
    return {"label": label, "box": annotation.get("bbox"), **crowd}


def _is_coco(document: Any) -> bool:
    if not isinstance(document, dict):
        return False
    known = cast(dict[str, Any], document)
    lists = [known.get(name) for name in ("images", "annotations", "categories")]
    if not all(
        isinstance(each, list) and all(isinstance(item, dict) for item in cast(list[Any], each)) for each in lists
    ):
        return False
    ids = all(isinstance(item.get("id"), int) for each in (lists[0], lists[2]) for item in cast(list[Any], each))
    return ids and all("name" in item for item in cast(list[Any], lists[2]))
