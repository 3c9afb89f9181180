"""What is known of a dataset."""

from collections.abc import Mapping
from dataclasses import dataclass, field

__all__ = ["DatasetFacts", "Feature", "Split"]


@dataclass(frozen=True, slots=True)
class Feature:
    """A column. `type` is string, integer, number, boolean, list, object, mixed, null (no row has a value), image or
    audio; `optional`: some rows have no value."""

    name: str
    type: str
    optional: bool


@dataclass(frozen=True, slots=True)
class Split:
    """`rows` is None where not all of them were counted; `labels` are rows by label where rows have one."""

    name: str
    rows: int | None
    size_bytes: int
    files: int
    labels: Mapping[str, int] = field(default_factory=dict[str, int])


@dataclass(frozen=True, slots=True)
class DatasetFacts:
    """`format` is one of those in `modelzoo.datasets`."""

    format: str
    splits: tuple[Split, ...]
    features: tuple[Feature, ...]
