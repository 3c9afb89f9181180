"""From a classifier's outputs to labels."""

from typing import Any, cast

import torch
from torch import Tensor

from modelzoo.errors import FailedPrecondition
from modelzoo.tasks.results import LabelScore

__all__ = ["Labels", "check_finite"]


class Labels:
    """The labels of a model, and what its outputs say of each.

    A model of several labels at once (`problem_type` multi_label_classification), or of a single output, has a
    sigmoid for each; any other a softmax over all. A regression has no probabilities: MODEL_UNSUPPORTED.
    """

    def __init__(self, config: Any) -> None:
        if config.problem_type == "regression":
            raise FailedPrecondition(
                "MODEL_UNSUPPORTED", "This model computes a number, not labels: pull it and run it locally."
            )
        names: dict[int, str] = config.id2label
        self.names = tuple(str(names.get(index, f"LABEL_{index}")) for index in range(int(config.num_labels)))
        self._independent = config.problem_type == "multi_label_classification" or len(self.names) == 1

    def probabilities(self, logits: Tensor) -> list[list[float]]:
        """Of each row: [rows, labels] -> as many lists. Raises ValueError where an output is not a number."""
        check_finite(logits)
        logits = logits.float()
        found = logits.sigmoid() if self._independent else logits.softmax(-1)
        return cast(Any, found).tolist()

    def rank(self, probabilities: list[float], top_k: int) -> tuple[LabelScore, ...]:
        """At most `top_k` labels, the most probable first; of equals the one with the lower index."""
        order = sorted(range(len(probabilities)), key=lambda index: -probabilities[index])
        return tuple(LabelScore(self.names[index], probabilities[index], index) for index in order[:top_k])


def check_finite(tensor: Tensor) -> None:
    """Raise ValueError where a value is infinite or not a number."""
    if not bool(torch.isfinite(tensor).all()):
        raise ValueError("the model's output is not a number")
