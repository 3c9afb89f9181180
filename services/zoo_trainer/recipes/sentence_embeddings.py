"""# Pairs of texts to vectors

Trains a sentence encoder so that texts which belong together get vectors that point the same way: a question and its
answer, a search and what was chosen, a sentence and another that says the same. All layers are trained, but the
embeddings and the lowest `frozen_layers`. How vectors are pooled stays as the base's own files say, and is served so.

The dataset has columns `anchor` and `positive` (or `query` and `passage`), and may have `negative`: a text that looks
right and is not. Nothing else has to be labelled: what belongs to the other pairs of a batch is wrong for a pair
(multiple negatives ranking; Henderson et al., "Efficient Natural Language Response Suggestion for Smart Reply", 2017),
unless it is the same text, or belongs to the same anchor. The loss is the cross-entropy of the right one among all, by
the cosine over `temperature`.

So the more pairs are computed at once, the harder the task and the better the vectors: a pair is told apart from those
of its own micro-batch, not of the whole step. Where memory ends and half as many are computed at once, a pair gets half
as many to be told from, which the events and the card say; `gradient_checkpointing` saves memory without that.

Measured is retrieval: of each anchor that was held out, whether its own text comes first among all that were
(`accuracy_at_1`), and the mean of 1 over its rank (`mrr`). Where others are as near, they come first.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

from pydantic import Field

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

__all__ = ["RECIPE", "SentenceEmbeddingSettings"]

ANCHORS, POSITIVES, NEGATIVE = ("anchor", "query"), ("positive", "passage"), "negative"


class SentenceEmbeddingSettings(SentenceSettings):
    temperature: Annotated[float, Field(gt=0, le=10)] = 0.05
    """Cosines are divided by it: the lower, the more the nearest wrong texts count."""


class _Pair(NamedTuple):
    """Tokens of each text; of `negative` none where the row has none."""

    anchor: tuple[int, ...]
    positive: tuple[int, ...]
    negative: tuple[int, ...]


class _PairLearner:
    is_adapter = False

    def __init__(self, start: Start[SentenceEmbeddingSettings]) -> None:
        self._temperature = start.settings.temperature
        self.rows: Sequence[Any] = start.train
        first = start.train[0]
        self._anchor, self._positive = column_of(first, ANCHORS), column_of(first, POSITIVES)
        if len({text_of(row, self._positive) for row in start.train}) < 2:
            raise _unsuitable("all rows have the same positive: there is nothing to tell it from")
        if start.settings.micro_batch_size == 1:
            raise InvalidArgument(
                "PARAMETER_INVALID", "micro_batch_size is 1: a pair has no others to be told from; take 2 or more."
            )
        self._encoder = SentenceEncoder(start.base, start.settings)
        self.model = self._encoder.model

    def encode(self, row: Row, generator: "torch.Generator") -> _Pair:
        negative = text_of(row, NEGATIVE)
        return _Pair(
            tuple(self._encoder.tokens(self._text(row, self._anchor))),
            tuple(self._encoder.tokens(self._text(row, self._positive))),
            tuple(self._encoder.tokens(negative)) if negative else (),
        )

    def collate(self, examples: Sequence[_Pair]) -> "dict[str, torch.Tensor]":
        """`candidates` are all positives in the order of their anchors, then the negatives; `possible` [anchors,
        candidates] says which of them an anchor chooses from."""
        import torch

        candidates = [each.positive for each in examples] + [each.negative for each in examples if each.negative]
        right: dict[tuple[int, ...], set[tuple[int, ...]]] = {}
        for each in examples:
            right.setdefault(each.anchor, {each.anchor}).add(each.positive)
        possible = [
            [number == own or candidate not in right[each.anchor] for number, candidate in enumerate(candidates)]
            for own, each in enumerate(examples)
        ]
        anchors = self._encoder.padded([each.anchor for each in examples], "anchors")
        return {**anchors, **self._encoder.padded(candidates, "candidates"), "possible": torch.tensor(possible)}

    def items(self, batch: "Mapping[str, torch.Tensor]") -> int:
        """Anchors that have something to choose from."""
        return int((batch["possible"].sum(1) > 1).sum())

    def loss(self, model: "nn.Module", batch: "Mapping[str, torch.Tensor]") -> "torch.Tensor":
        """Of an anchor without anything to choose from it is 0."""
        import torch
        from torch.nn import functional

        anchors = self._encoder.vectors(model, batch, "anchors")
        candidates = self._encoder.vectors(model, batch, "candidates")
        scores = (anchors @ candidates.T / self._temperature).masked_fill(~batch["possible"], -torch.inf)
        own = torch.arange(len(scores), device=scores.device)
        return functional.cross_entropy(scores, own, reduction="sum")

    def measure(self, rows: Rows, batch_size: int, orders: Orders) -> "Measurement":
        from zoo_trainer.retrieval import measure_retrieval

        numbers: dict[str, int] = {}  # of candidates, each once
        right: dict[str, set[int]] = {}
        for row in rows:
            anchor, positive = self._text(row, self._anchor), self._text(row, self._positive)
            right.setdefault(anchor, set()).add(numbers.setdefault(positive, len(numbers)))
            if negative := text_of(row, NEGATIVE):
                numbers.setdefault(negative, len(numbers))
        return measure_retrieval(
            self._encoder.embed(list(right), batch_size, orders),
            self._encoder.embed(list(numbers), batch_size, orders),
            list(right.values()),
            [numbers.get(anchor) for anchor in right],
        )

    def save(self, folder: Path) -> None:
        self._encoder.save(folder)

    def _text(self, row: Row, column: str) -> str:
        text = text_of(row, column)
        if not text.strip():
            raise _unsuitable(f"a row has no {column}: {str(row)[:200]!a}")
        return text


def _unsuitable(why: str) -> InvalidArgument:
    return InvalidArgument("DATASET_UNSUITABLE", f"No sentence encoder can learn from this dataset: {why}.")


def _start(start: Start[SentenceEmbeddingSettings]) -> Learner:
    return _PairLearner(start)


RECIPE = Recipe(
    name="sentence-embeddings",
    settings=SentenceEmbeddingSettings,
    start=_start,
    base_tasks=BASE_TASKS,
    task="sentence-similarity",
    columns=("|".join(ANCHORS), "|".join(POSITIVES)),
    metric="mrr",
    least_at_once=2,
    when_halved="Each pair now has fewer texts to be told from: those of its own portion.",
)
