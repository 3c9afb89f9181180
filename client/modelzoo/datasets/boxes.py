"""What is in a picture, as rows of detection datasets have it: `objects`, each with `label` and `box`."""

import math
from typing import Any, cast

__all__ = ["OBJECTS", "box_problem", "objects_problem"]

OBJECTS = "objects"


def box_problem(box: Any, width: Any = None, height: Any = None) -> str | None:
    """What is wrong with a box, in words that follow its name; None: nothing.

    It is x, y, width and height in pixels. Where the picture's own size is known as whole numbers, some of the box has
    to lie in it.
    """
    numbers = cast(list[Any], box) if isinstance(box, list) else []
    if len(numbers) != 4 or not all(map(_is_finite, numbers)) or min(numbers[2:]) <= 0:
        return "is not x, y, width, height, the last two above 0"
    for start, length, side in ((numbers[0], numbers[2], width), (numbers[1], numbers[3], height)):
        if isinstance(side, int) and (start >= side or start + length <= 0):
            return f"lies outside of its picture of {width} x {height} pixels"
    return None


def objects_problem(objects: Any) -> str | None:
    """The first thing that is wrong with a row's objects; None: nothing, or there are none."""
    if objects is None:
        return None
    if not isinstance(objects, list):
        return f"`{OBJECTS}` is not a list of objects, each with `label` and `box`"
    for number, each in enumerate(cast(list[Any], objects), 1):
        found = cast(dict[str, Any], each) if isinstance(each, dict) else {}
        if not isinstance(found.get("label"), str | int):
            return f"object {number} of `{OBJECTS}` has no `label`"
        if problem := box_problem(found.get("box")):
            return f"the `box` of object {number} of `{OBJECTS}` {problem}"
    return None


def _is_finite(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
