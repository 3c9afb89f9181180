"""What is trained on, what is looked at meanwhile, and what the result is measured on."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from modelzoo.datasets import stream_rows
from modelzoo.errors import InvalidArgument
from zoo_trainer.rows import Rows, store_rows

__all__ = ["Splits", "divide"]

# Of the range of digests: what is held out, and what is kept for stopping early, where the dataset has no such split.
HELD_OUT_SHARE = 0.1
VALIDATION_SHARE = 0.1
RANGE = 2**64


@dataclass(frozen=True, slots=True)
class Splits:
    """`held_out` is measured on before and after, and never trained on; `validation` says when to stop, if anything
    does. `repeated` counts rows of `held_out` that stand in `train`, too."""

    train: Rows
    validation: Rows | None
    held_out: Rows
    held_out_name: str
    repeated: int
    notes: tuple[str, ...]


def divide(root: Path, folder: Path, *, with_validation: bool) -> Splits:
    """The splits of the dataset at `root`, its rows stored in `folder`.

    A split that is missing is made of `train` by the digests of its rows: the same row is always in the same one, on
    every machine and whatever else is in the dataset, and rows that are the same example are not parted.
    DATASET_UNSUITABLE where nothing is left to train on or to measure on.
    """
    found: Mapping[str, Rows] = {
        name: store_rows(rows(), folder / f"{name}.jsonl", root) for name, rows in stream_rows(root).items()
    }
    train = found.get("train")
    if not train:
        raise _unsuitable(f"it has no rows to train on: it has {', '.join(sorted(found))}, and no split `train`")
    notes: list[str] = []
    held_out, name = found.get("test"), "test"
    validation = found.get("validation")
    if not held_out:
        held_out, name = (validation, "validation") if validation else (None, "test")
        validation = None
    if not held_out:
        train, held_out = _parted(train, 0.0, HELD_OUT_SHARE)
        notes.append(f"The dataset has no test split: {len(held_out):,} of its rows were held out, by their content.")
    if with_validation and not validation:
        train, validation = _parted(train, HELD_OUT_SHARE, VALIDATION_SHARE)
        notes.append(f"{len(validation):,} rows were kept from training to say when to stop, by their content.")
    known = {train.digest(number) for number in range(len(train))}
    repeated = sum(held_out.digest(number) in known for number in range(len(held_out)))
    if repeated:
        notes.append(
            f"{repeated:,} of the {len(held_out):,} rows of {name} stand in train, too: what is measured looks better "
            "than it is. Take them out of one."
        )
    return Splits(train, validation, held_out, name, repeated, tuple(notes))


def _parted(rows: Rows, start: float, share: float) -> tuple[Rows, Rows]:
    """The rest, and those whose digests lie in a share of the range; at least the example whose digest is lowest."""
    low, high = round(start * RANGE), round((start + share) * RANGE)
    chosen = rows.where(lambda digest: low <= digest < high)
    rest = rows.where(lambda digest: not low <= digest < high)
    if not chosen or not rest:
        lowest = min(rows.digest(number) for number in range(len(rows)))
        chosen, rest = rows.where(lambda digest: digest == lowest), rows.where(lambda digest: digest != lowest)
    if not rest:
        raise _unsuitable("all of its rows are the same example: add others, or a test split")
    return rest, chosen


def _unsuitable(why: str) -> InvalidArgument:
    return InvalidArgument("DATASET_UNSUITABLE", f"This dataset cannot be learned from: {why}.")
