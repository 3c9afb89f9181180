"""How well vectors find what belongs to them, in numbers. The same code before and after."""

from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from typing import Any, cast

import torch
from torch import Tensor

from zoo_trainer.evaluation import Measurement

__all__ = ["measure_retrieval", "measure_scores"]

ANCHORS_AT_ONCE = 256


def measure_retrieval(
    anchors: Tensor, candidates: Tensor, right: Sequence[AbstractSet[int]], itself: Sequence[int | None]
) -> Measurement:
    """Vectors of length 1, [anchors, width] and [candidates, width]; `right` are the numbers of the candidates that
    belong to each anchor, `itself` that which is the anchor's own text, and no answer.

    `accuracy_at_1` is the share of anchors with a right one nearest; `mrr` the mean of 1 over the rank of the first
    right one (Voorhees, TREC-8, 1999). Wrong ones that are exactly as near as the right one come before it.
    """
    ranks: list[int] = []
    for start in range(0, len(anchors), ANCHORS_AT_ONCE):
        scores = anchors[start : start + ANCHORS_AT_ONCE] @ candidates.T
        for row, own, same in zip(scores, right[start:], itself[start:], strict=False):
            numbers = torch.tensor(sorted(own))
            best = row[numbers].max()
            wrong = row >= best
            wrong[numbers] = False
            if same is not None:
                wrong[same] = False
            ranks.append(1 + int(wrong.sum()))
    found = {
        "accuracy_at_1": sum(rank == 1 for rank in ranks) / len(ranks),
        "mrr": sum(1 / rank for rank in ranks) / len(ranks),
    }
    return Measurement(found, len(ranks))


def measure_scores(said: Sequence[float], truth: Sequence[float]) -> Measurement:
    """`spearman`: the correlation of the ranks, from -1 to 1; 0 where either side is all of one value."""
    from scipy import stats

    if len(set(said)) < 2 or len(set(truth)) < 2:
        return Measurement({"spearman": 0.0}, len(truth))
    correlation: Any = cast(Any, stats).spearmanr(said, truth).statistic
    return Measurement({"spearman": float(correlation)}, len(truth))
