"""The classes of ImageNet's recognition challenge (Russakovsky et al., 2015), in the order of networks' outputs."""

from functools import cache
from importlib import resources

__all__ = ["imagenet_labels"]


@cache
def imagenet_labels() -> tuple[str, ...]:
    """The 1,000 short English names, each once, as torchvision's published weights have them."""
    lines = resources.files("modelzoo.convert").joinpath("imagenet_labels.txt").read_text(encoding="utf-8")
    return tuple(lines.splitlines())
