"""How good a model is on rows, in numbers for programs and tables for people. The same code before and after."""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

__all__ = ["BoxFigures", "ClassFigures", "Measurement", "Misheard", "measure_classes", "measure_text"]


@dataclass(frozen=True, slots=True)
class ClassFigures:
    """Of one label: shares from 0 to 1, and how many rows have it. `precision` of a label never said is 0."""

    label: str
    precision: float
    recall: float
    f1: float
    rows: int


@dataclass(frozen=True, slots=True)
class BoxFigures:
    """Of one label of a detector: COCO's average precision over overlaps from 0.50 to 0.95, and at 0.50 alone, from 0
    to 1, and how many boxes are to be found. None: there are none."""

    label: str
    average_precision: float | None
    average_precision_50: float | None
    boxes: int


@dataclass(frozen=True, slots=True)
class Misheard:
    """A row of speech that was written down wrongly: its number among those measured, from 1; how that which was said
    and that which was written begin; and how many of its words are wrong, of how many."""

    row: int
    said: str
    written: str
    errors: int
    words: int


@dataclass(frozen=True, slots=True)
class Measurement:
    """`metrics` by name; `majority` is what always answering with the commonest label would give, for those that it
    makes sense for. `confusion[i][j]` counts rows of label i that were called j, in the order of `classes`. Classifiers
    have `classes`, detectors `boxes`, and what writes down speech the worst rows, `misheard`."""

    metrics: Mapping[str, float]
    items: int
    majority: Mapping[str, float] = field(default_factory=dict[str, float])
    classes: tuple[ClassFigures, ...] = ()
    confusion: tuple[tuple[int, ...], ...] = ()
    boxes: tuple[BoxFigures, ...] = ()
    misheard: tuple[Misheard, ...] = ()

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> "Measurement":
        return cls(
            metrics=content["metrics"],
            items=content["items"],
            majority=content["majority"],
            classes=tuple(ClassFigures(**each) for each in content["classes"]),
            confusion=tuple(tuple(row) for row in content["confusion"]),
            boxes=tuple(BoxFigures(**each) for each in content.get("boxes", ())),
            misheard=tuple(Misheard(**each) for each in content.get("misheard", ())),
        )


def measure_classes(labels: Sequence[str], truth: Sequence[int], said: Sequence[int]) -> Measurement:
    """Accuracy, and F1 as a mean over the labels that rows have; `truth` and `said` are numbers of labels."""
    counts = [[0] * len(labels) for _ in labels]
    for true, called in zip(truth, said, strict=True):
        counts[true][called] += 1
    classes = tuple(_figures(label, number, counts) for number, label in enumerate(labels))
    present = [each.f1 for each in classes if each.rows]
    share = max(Counter(truth).values()) / len(truth)
    metrics = {
        "accuracy": sum(counts[number][number] for number in range(len(labels))) / len(truth),
        "f1": sum(present) / len(present),
    }
    # Always saying one label is right in its share of rows; its F1 is 2p/(p+1), every other label's 0.
    majority = {"accuracy": share, "f1": 2 * share / (share + 1) / len(present)}
    return Measurement(metrics, len(truth), majority, classes, tuple(tuple(row) for row in counts))


def measure_text(loss_sum: float, tokens: int, items: int) -> Measurement:
    """Of a language model: the mean loss of a token in nats, and perplexity, its exponential."""
    loss = loss_sum / max(1, tokens)
    return Measurement({"loss": loss, "perplexity": math.exp(min(loss, 700.0))}, items)


def _figures(label: str, number: int, counts: Sequence[Sequence[int]]) -> ClassFigures:
    right, rows = counts[number][number], sum(counts[number])
    called = sum(row[number] for row in counts)
    precision, recall = right / called if called else 0.0, right / rows if rows else 0.0
    f1 = 2 * precision * recall / (precision + recall) if right else 0.0
    return ClassFigures(label, precision, recall, f1, rows)
