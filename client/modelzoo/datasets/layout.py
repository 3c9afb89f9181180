"""Which of a dataset's files are rows, of which format, in which split; told by their names alone."""

import re
from collections.abc import Iterable, Mapping
from pathlib import PurePosixPath

from modelzoo.errors import InvalidArgument

__all__ = ["IMAGES", "ROW_FILES", "SOUNDS", "dataset_invalid", "folder_label", "rows_by_split", "split_of"]

IMAGES = frozenset({".png", ".jpg", ".jpeg", ".webp", ".gif", ".bmp", ".tif", ".tiff"})
SOUNDS = frozenset({".wav", ".flac", ".ogg", ".mp3"})
_ROWS: Mapping[str, str] = {
    ".parquet": "parquet",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".csv": "csv",
    ".tsv": "csv",
    ".json": "coco",
}
# How files of rows end.
ROW_FILES = frozenset(_ROWS)
# Beside the rows of any format: they describe it.
_ASIDE = frozenset({"dataset_info.json", "dataset_infos.json", "state.json", "dataset_dict.json"})
_SPLITS = {
    "train": "train",
    "training": "train",
    "validation": "validation",
    "valid": "validation",
    "val": "validation",
    "dev": "validation",
    "test": "test",
    "testing": "test",
    "eval": "test",
    "evaluation": "test",
}


def rows_by_split(paths: Iterable[str]) -> tuple[str, Mapping[str, list[str]]]:
    """The format, and the paths of the files that hold rows, by split; an audio manifest counts as what its rows are.

    DATASET_INVALID where there are none, or files of several formats.
    """
    found: dict[str, dict[str, list[str]]] = {}
    pictures: dict[str, list[str]] = {}
    for path in sorted(paths):
        name = PurePosixPath(path)
        suffix = name.suffix.lower()
        if suffix in IMAGES:
            pictures.setdefault(split_of(path), []).append(path)
        elif suffix in _ROWS and name.name not in _ASIDE:
            found.setdefault(_ROWS[suffix], {}).setdefault(split_of(path), []).append(path)
    if len(found) > 1:
        raise dataset_invalid(
            f"it has files of several formats ({', '.join(sorted(found))}): keep the rows in one, and remove the others"
        )
    if found:
        return found.popitem()
    if pictures:
        return "image-folder", pictures
    raise dataset_invalid(
        "it has no rows: add *.jsonl, *.csv, *.parquet, COCO's *.json, or pictures in folders by label"
    )


def split_of(path: str) -> str:
    """The split that a folder or the file's own name speaks for, the outermost first; `train` where none does."""
    for part in PurePosixPath(path).parts:
        for word in re.split(r"[^a-z]+", part.lower()):
            if word in _SPLITS:
                return _SPLITS[word]
    return "train"


def folder_label(path: str) -> str | None:
    """The label of a picture: the name of its folder; None where that is the dataset's or a split's own."""
    parent = PurePosixPath(path).parent
    is_split = len(parent.parts) == 1 and parent.name.lower() in _SPLITS
    return None if is_split else parent.name or None


def dataset_invalid(problem: str) -> InvalidArgument:
    return InvalidArgument("DATASET_INVALID", f"This is no dataset that can be used: {problem}.")
