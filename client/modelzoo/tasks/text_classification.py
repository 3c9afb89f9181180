"""Texts to labels."""

from collections.abc import Sequence

import torch

from modelzoo.errors import FailedPrecondition
from modelzoo.tasks.context import context_of
from modelzoo.tasks.files import ModelFiles
from modelzoo.tasks.labels import Labels
from modelzoo.tasks.padding import padded
from modelzoo.tasks.task import Task
from modelzoo.tasks.tokenizing import Tokenizing

__all__ = ["TextClassifier"]


class TextClassifier:
    """Texts of at most `context` tokens. `prepare` may be called from several threads at once; `compute` belongs to
    one at a time.
    """

    task = Task.CLASSIFY_TEXT

    def __init__(self, files: ModelFiles) -> None:
        """Raises MODEL_UNSUPPORTED, MODEL_LOAD_FAILED."""
        self._model = files.model
        self._tokenizing = Tokenizing(files.processor)
        self.labels = Labels(files.model.config)
        self.context = min(context_of(files.model.config, self._tokenizing), self._tokenizing.longest)
        self.size_bytes = files.size_bytes
        self._check()

    def prepare(self, text: str) -> list[int]:
        """Tokens of the whole text, special ones included, however many."""
        return self._tokenizing.encode(text, add_special_tokens=True)

    def cost(self, item: Sequence[int]) -> int:
        """What the item adds to a batch: tokens."""
        return len(item)

    def compute(self, batch: Sequence[Sequence[int]]) -> list[list[float]]:
        """Of each text the probability of each label; `labels.rank` names them."""
        tokens, mask = padded(batch, self._tokenizing.pad_token)
        with torch.inference_mode():
            return self.labels.probabilities(self._model(input_ids=tokens, attention_mask=mask).logits)

    def _check(self) -> None:
        try:
            self.compute([[self._tokenizing.pad_token] * self.context, self.prepare("a")])
        # Foreign files make the libraries raise every kind.
        except Exception as error:
            raise FailedPrecondition(
                "MODEL_LOAD_FAILED",
                f"The model fails over an input of the {self.context} tokens that its files allow: {str(error)[:500]}",
            ) from error
