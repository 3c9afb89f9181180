"""The objects of a row, as a detector learns them."""

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from modelzoo.datasets.boxes import OBJECTS, objects_problem
from modelzoo.errors import InvalidArgument
from zoo_trainer.rows import Row

if TYPE_CHECKING:
    from zoo_trainer.average_precision import TrueBox

__all__ = ["labels_of", "true_boxes"]

IMAGE = "image"


def labels_of(row: Row) -> Iterator[str]:
    """The label of each object but crowds. DATASET_UNSUITABLE where one cannot be read."""
    return (str(each["label"]) for each in _objects(row) if not each.get("crowd"))


def true_boxes(row: Row, size: tuple[int, int], numbers: Mapping[str, int]) -> "list[TrueBox]":
    """The row's objects in a picture of this width and height, cut off at its edges; `numbers` are those of labels.
    What has none, as nothing else is such, is left out.

    DATASET_UNSUITABLE where one cannot be read, or nothing of it lies in the picture.
    """
    from modelzoo.tasks.results import Box
    from zoo_trainer.average_precision import TrueBox

    found: list[TrueBox] = []
    for each in _objects(row):
        number = numbers.get(str(each["label"]))
        if number is None:
            continue
        x, y, width, height = each["box"]
        box = Box(max(x, 0), max(y, 0), min(x + width, size[0]), min(y + height, size[1]))
        if box.x_max <= box.x_min or box.y_max <= box.y_min:
            where = f"{x:g}, {y:g}, {width:g}, {height:g}"
            raise _unsuitable(row, f"the box {where} lies outside of its {size[0]} x {size[1]} pixels")
        found.append(TrueBox(number, box, bool(each.get("crowd"))))
    return found


def _objects(row: Row) -> list[dict[str, Any]]:
    if problem := objects_problem(row.get(OBJECTS)):
        raise _unsuitable(row, problem)
    return row.get(OBJECTS) or []


def _unsuitable(row: Row, problem: str) -> InvalidArgument:
    picture: Any = row.get(IMAGE)
    where = ascii(picture.rpartition("/")[2][:80]) if isinstance(picture, str) else "a row"
    return InvalidArgument("DATASET_UNSUITABLE", f"No detector can learn from this dataset: in {where}, {problem}.")
