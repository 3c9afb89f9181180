"""Passes tokens through a transformers model: a request's input in chunks, then one token at a time for all rows.

Every request sees its own positions and its own tokens only, so its logits do not depend on who else is in the batch
(beyond the rounding of a larger matrix product). `check` shows for the model at hand that this holds.
"""

import inspect
from collections.abc import Sequence
from typing import Any, cast

import torch
from torch import Tensor

from modelzoo.errors import FailedPrecondition
from zoo_inference.generation.key_values import KeyValues, mask_of, positions_of

__all__ = ["Runner"]

# Difference of logits, relative to the largest, between two ways to compute the same.
TOLERANCE = {torch.float32: 1e-3, torch.float64: 1e-3}
TOLERANCE_HALF = 0.1


class Runner:
    """A causal language model and how to call it. Belongs to one thread."""

    def __init__(self, model: Any) -> None:
        self._model = model
        self._dtype: torch.dtype = model.dtype
        self._layer_count: int = model.config.get_text_config().num_hidden_layers
        self._vocabulary: int = model.get_input_embeddings().weight.shape[0]
        accepted = inspect.signature(model.forward).parameters
        if "position_ids" not in accepted or "past_key_values" not in accepted:
            raise _unsupported(model, "it takes no positions")
        self._extra: dict[str, Any] = {"logits_to_keep": 1} if "logits_to_keep" in accepted else {}
        self.steps = 0

    def new_memory(self) -> KeyValues:
        return KeyValues(self._layer_count)

    def extend(self, memory: KeyValues, row: int, tokens: Sequence[int]) -> Tensor:
        """Compute `tokens` as the continuation of a row; the logits after the last: [vocabulary]."""
        return self._forward(memory, row, torch.tensor([tokens]))[0]

    def step(self, memory: KeyValues, first_row: int, tokens: Sequence[int]) -> Tensor:
        """Compute one token for each of the rows from `first_row` on; the logits after them: [rows, vocabulary]."""
        return self._forward(memory, first_row, torch.tensor(tokens).unsqueeze(1))

    def _forward(self, memory: KeyValues, first_row: int, tokens: Tensor) -> Tensor:
        now = memory.begin(first_row, tokens.shape[0], tokens.shape[1])
        positions = positions_of(now)
        output = self._model(
            input_ids=tokens,
            position_ids=positions,
            attention_mask=mask_of(positions, now.end, self._dtype),
            past_key_values=memory,
            use_cache=True,
            **self._extra,
        )
        memory.commit(now)
        self.steps += 1
        return output.logits[:, -1]

    def check(self) -> int:
        """Bytes of keys and values for one token, once it is shown that stepping gives what one plain pass gives.

        Raises MODEL_UNSUPPORTED where it does not: an architecture whose attention or state is of another kind.
        """
        drawn: Any = torch.randint(self._vocabulary, (2, 7), generator=torch.Generator().manual_seed(0))
        try:
            memory = self._check(drawn)
        # Foreign architectures fail in every way there is.
        except Exception as error:
            if isinstance(error, FailedPrecondition):
                raise
            raise _unsupported(self._model, "it cannot be stepped token by token") from error
        self.steps = 0
        return memory.token_bytes()

    def _check(self, drawn: Tensor) -> KeyValues:
        first, second = cast(list[list[int]], cast(Any, drawn).tolist())
        memory, single = self.new_memory(), self.new_memory()
        memory.add_row()
        single.add_row()
        # One row at once, a shorter one in two chunks; then two steps of both.
        self.extend(memory, 0, first[:5])
        self.extend(single, 0, second[:2])
        self.extend(single, 0, second[2:3])
        memory.take_over(single)
        found = torch.stack([self.step(memory, 0, [first[5 + step], second[3 + step]]) for step in range(2)])
        # What comes after a token does not change its logits, so one plain pass has both.
        plain = self._model(input_ids=drawn, use_cache=False).logits
        self._compare(found[:, 0], plain[0, 5:7])
        self._compare(found[:, 1], plain[1, 3:5])
        return memory

    def _compare(self, found: Tensor, plain: Tensor) -> None:
        most = float(plain.abs().max())
        apart = float((found - plain).abs().max())
        if not apart <= TOLERANCE.get(self._dtype, TOLERANCE_HALF) * max(most, 1e-6):
            raise _unsupported(self._model, "its attention is of a kind that continuous batching does not compute")


def _unsupported(model: Any, why: str) -> FailedPrecondition:
    name = type(model).__name__
    return FailedPrecondition("MODEL_UNSUPPORTED", f"{name} cannot be served for generation: {why}.")
