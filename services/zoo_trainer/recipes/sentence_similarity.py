"""# Pairs of texts with scores to vectors

Trains a sentence encoder so that the cosine of two texts' vectors is what people said of how alike they are. All
layers are trained, but the embeddings and the lowest `frozen_layers`. How vectors are pooled stays as the base's own
files say, and is served so.

The dataset has columns `sentence1`, `sentence2` and `score`. Scores from 0 to 1, or from -1 to 1, are taken as cosines;
others (the 0 to 5 of many datasets) are moved to 0 to 1 by the lowest and highest of the training rows, which the
events and the card say. The loss is the squared difference (Reimers and Gurevych, "Sentence-BERT", 2019).

Measured is Spearman's correlation of cosines and scores on rows that were held out, which does not ask for the scale.
"""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, cast

from modelzoo.errors import InvalidArgument
from zoo_trainer.recipes.columns import column_of, text_of
from zoo_trainer.recipes.learner import Learner, Start
from zoo_trainer.recipes.recipe import Recipe
from zoo_trainer.recipes.sentences import BASE_TASKS, SentenceEncoder, SentenceSettings
from zoo_trainer.rows import Row, Rows
from zoo_trainer.stopping import Orders

if TYPE_CHECKING:
    import torch
    from torch import nn

    from zoo_trainer.evaluation import Measurement

__all__ = ["RECIPE", "SentenceSimilaritySettings"]

FIRST, SECOND, SCORE = "sentence1", "sentence2", "score"


class SentenceSimilaritySettings(SentenceSettings):
    """Those of all sentence encoders."""


class _Scored(NamedTuple):
    """Tokens of two texts, and the cosine that their vectors should have."""

    first: list[int]
    second: list[int]
    cosine: float


class _ScoreLearner:
    is_adapter = False

    def __init__(self, start: Start[SentenceSimilaritySettings]) -> None:
        self.rows: Sequence[Any] = start.train
        for name in (FIRST, SECOND, SCORE):
            column_of(start.train[0], (name,))
        scores = [_score(row) for row in start.train]
        self._low, self._span = _scale(min(scores), max(scores))
        if self._span != 1 or self._low:
            start.notes.append(
                f"Scores from {self._low:g} to {self._low + self._span:g} are taken as cosines of 0 to 1."
            )
        self._encoder = SentenceEncoder(start.base, start.settings)
        self.model = self._encoder.model

    def encode(self, row: Row, generator: "torch.Generator") -> _Scored:
        first, second = (self._encoder.tokens(text_of(row, name)) for name in (FIRST, SECOND))
        return _Scored(first, second, (_score(row) - self._low) / self._span)

    def collate(self, examples: Sequence[_Scored]) -> "dict[str, torch.Tensor]":
        import torch

        first = self._encoder.padded([each.first for each in examples], "first")
        second = self._encoder.padded([each.second for each in examples], "second")
        return {**first, **second, "cosines": torch.tensor([each.cosine for each in examples])}

    def items(self, batch: "Mapping[str, torch.Tensor]") -> int:
        return len(batch["cosines"])

    def loss(self, model: "nn.Module", batch: "Mapping[str, torch.Tensor]") -> "torch.Tensor":
        first = self._encoder.vectors(model, batch, "first")
        second = self._encoder.vectors(model, batch, "second")
        return ((first * second).sum(1) - batch["cosines"]).square().sum()

    def measure(self, rows: Rows, batch_size: int, orders: Orders) -> "Measurement":
        from zoo_trainer.retrieval import measure_scores

        first, second = (
            self._encoder.embed([text_of(row, name) for row in rows], batch_size, orders) for name in (FIRST, SECOND)
        )
        cosines = cast(list[float], cast(Any, (first * second).sum(1)).tolist())
        return measure_scores(cosines, [_score(row) for row in rows])

    def save(self, folder: Path) -> None:
        self._encoder.save(folder)


def _score(row: Row) -> float:
    """A finite number, also one that a CSV has as text."""
    try:
        score = float(row.get(SCORE, ""))
    except (TypeError, ValueError):
        score = math.nan
    if math.isfinite(score):
        return score
    raise _unsuitable(f"a row has no number for {SCORE}: {str(row)[:200]!a}")


def _scale(lowest: float, highest: float) -> tuple[float, float]:
    """What is taken off a score, and what it is divided by then."""
    if lowest == highest:
        raise _unsuitable(f"all rows have the score {lowest:g}: there is nothing to tell apart")
    return (0.0, 1.0) if lowest >= -1 and highest <= 1 else (lowest, highest - lowest)


def _unsuitable(why: str) -> InvalidArgument:
    return InvalidArgument("DATASET_UNSUITABLE", f"No sentence encoder can learn from this dataset: {why}.")


def _start(start: Start[SentenceSimilaritySettings]) -> Learner:
    return _ScoreLearner(start)


RECIPE = Recipe(
    name="sentence-similarity",
    settings=SentenceSimilaritySettings,
    start=_start,
    base_tasks=BASE_TASKS,
    task="sentence-similarity",
    columns=(FIRST, SECOND, SCORE),
    metric="spearman",
)
