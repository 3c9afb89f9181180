"""Labels of rows as the numbers of a classifier's outputs."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

from modelzoo.errors import InvalidArgument
from zoo_trainer.recipes.learner import Start
from zoo_trainer.rows import Row, Rows

if TYPE_CHECKING:
    import torch

__all__ = ["LABELS", "Classes", "find_classes", "own_labels"]

LABELS = ("label", "category", "class")
LABELS_MAX = 10_000
SHOWN = 5


@dataclass(frozen=True, slots=True)
class Classes:
    """`names` in the order of the outputs; `are_own`: they are those that the base has, which keeps its outputs.
    `counts` are rows of train by name."""

    column: str
    names: tuple[str, ...]
    are_own: bool
    counts: Mapping[str, int]
    numbers: Mapping[str, int]

    def number(self, row: Row) -> int:
        return self.numbers[_name(row, self.column)]

    def weights(self) -> "torch.Tensor":
        """Of each label by how rare it is, so that their mean over all rows of train is 1; 0 where it has no rows."""
        import torch

        present = [self.counts[name] for name in self.names if self.counts.get(name)]
        mean = sum(present) / len(present)
        return torch.tensor([mean / self.counts[name] if self.counts.get(name) else 0.0 for name in self.names])

    def config(self) -> dict[str, object]:
        """What a model's configuration says of them."""
        return {
            "id2label": dict(enumerate(self.names)),
            "label2id": dict(self.numbers),
            "problem_type": "single_label_classification",
        }


def own_labels(config: Mapping[str, object]) -> list[str]:
    """Those of a base, in the order of its outputs, as its config.json names them."""
    names = config.get("id2label")
    known = cast(dict[str, object], names) if isinstance(names, dict) else {}
    return [str(known.get(str(number))) for number in range(len(known))]


def find_classes(
    start: Start[Any], column: str, own: Sequence[str], look: Callable[[Row], None] | None = None
) -> Classes:
    """The labels of all rows, each of which `look` sees once: as the base has them (`own`) where it has all of them,
    or else in alphabetical order. DATASET_UNSUITABLE where there are fewer than two, or more than a classifier would
    have."""

    def counted(splits: Sequence[Rows]) -> Counter[str]:
        counts = Counter[str]()
        for rows in splits:
            for row in rows:
                if look is not None:
                    look(row)
                counts[_name(row, column)] += 1
        return counts

    counts, measured = counted([start.train]), counted(start.measured)
    if len(counts) < 2:
        raise _unsuitable(f"all rows have the same label, {next(iter(counts), '')!a}: there is nothing to tell apart")
    if len(counts) > LABELS_MAX:
        raise _unsuitable(
            f"it has {len(counts):,} different labels, more than {LABELS_MAX:,}; is `{column}` the right column?"
        )
    if unseen := sorted(measured.keys() - counts.keys()):
        start.notes.append(
            f"{len(unseen)} labels stand in held-out rows alone and cannot be learned: {', '.join(unseen[:SHOWN])}."
        )
    found = {*counts, *measured}
    are_own = set(own) >= found and len(own) == len(set(own))
    names = tuple(own) if are_own else tuple(sorted(found))
    return Classes(column, names, are_own, counts, {name: number for number, name in enumerate(names)})


def _name(row: Row, column: str) -> str:
    label = row.get(column)
    if label is None or isinstance(label, list | dict | bytes):
        shown = {name: value for name, value in row.items() if isinstance(value, str | int | float)}
        raise _unsuitable(f"a row has no {column}: {str(shown)[:200]!a}")
    return str(label)


def _unsuitable(why: str) -> InvalidArgument:
    return InvalidArgument("DATASET_UNSUITABLE", f"No classifier can learn from this dataset: {why}.")
