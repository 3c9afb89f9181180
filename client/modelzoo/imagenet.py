"""The names of ImageNet's 1,000 classes, in the order in which networks trained on it give their logits."""

from functools import cache
from importlib import resources

__all__ = ["class_labels"]


@cache
def _names() -> tuple[str, ...]:
    text = (resources.files("modelzoo") / "imagenet_classes.txt").read_text(encoding="utf-8")
    return tuple(line for line in text.splitlines() if not line.startswith("#"))


def class_labels() -> dict[int, str]:
    """What a config's `id2label` has: the name of each class, no two alike, by its number."""
    return dict(enumerate(_names()))
