"""The names of a classifier's classes: read from a file, or made up where nobody gave them."""

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from modelzoo import imagenet
from modelzoo.errors import InvalidArgument

__all__ = ["LabelsOrigin", "check_label_count", "id2label", "labels_origin", "read_labels"]

IMAGENET_CLASSES = 1000
SHOWN_MAX = 80

LabelsOrigin = Literal["given", "imagenet", "numbers"]


def read_labels(file: Path) -> tuple[str, ...]:
    """The names in a UTF-8 text file, one a line, in the order of the network's outputs.

    Raises LOCAL_PATH_INVALID where it cannot be read, FIELD_INVALID for blank lines, names listed twice and none.
    """
    try:
        lines = file.read_text(encoding="utf-8-sig").splitlines()
    except OSError as error:
        raise InvalidArgument("LOCAL_PATH_INVALID", f"{str(file)!a} cannot be read: {error.strerror}.") from error
    except UnicodeDecodeError as error:
        raise _invalid(f"{file.name!a} is no text in UTF-8; write one name a line.") from error
    if not lines:
        raise _invalid(f"{file.name!a} is empty; write one name a line.")
    first: dict[str, int] = {}
    for number, line in enumerate(lines, 1):
        name = line.strip()
        if not name:
            raise _invalid(f"Line {number} of {file.name!a} is blank; write one name a line.")
        if name in first:
            raise _invalid(f"{name[:SHOWN_MAX]!a} stands in lines {first[name]} and {number} of {file.name!a}.")
        first[name] = number
    return tuple(first)


def check_label_count(labels: Sequence[str] | None, classes: int) -> None:
    """Raise FIELD_INVALID, naming both numbers, unless there is a name for each of the network's classes."""
    if labels is not None and len(labels) != classes:
        raise _invalid(f"There are {len(labels)} labels, but the network has {classes} classes; name each of them.")


def labels_origin(labels: Sequence[str] | None, classes: int) -> LabelsOrigin:
    """Whose names a network of so many classes gets."""
    if labels is not None:
        return "given"
    return "imagenet" if classes == IMAGENET_CLASSES else "numbers"


def id2label(labels: Sequence[str] | None, classes: int) -> dict[int, str]:
    """A config's `id2label`: the labels given, else ImageNet's for 1,000 classes, else LABEL_0, as transformers has."""
    if labels is not None:
        return dict(enumerate(labels))
    if classes == IMAGENET_CLASSES:
        return imagenet.class_labels()
    return {number: f"LABEL_{number}" for number in range(classes)}


def _invalid(message: str) -> InvalidArgument:
    return InvalidArgument("FIELD_INVALID", message, field="labels")
