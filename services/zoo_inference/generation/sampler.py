"""Draws the next token: temperature, top-k, top-p (Holtzman et al. 2020), from a generator of the request's own."""

import torch
from torch import Tensor

from zoo_inference.engine import Sampling

__all__ = ["Sampler"]

# float32 divides by it without overflow; already it leaves next to nothing to chance.
TEMPERATURE_MIN = 1e-6


class Sampler:
    """One request's draws. The same seed and logits give the same tokens, whatever else is drawn in between."""

    def __init__(self, sampling: Sampling) -> None:
        self._sampling = sampling
        self._generator = torch.Generator()
        if sampling.seed is None:
            self._generator.seed()
        else:
            self._generator.manual_seed(sampling.seed)

    def draw(self, logits: Tensor) -> int:
        """A token for logits of shape [vocabulary]; ValueError where one of them is not a number."""
        if bool(logits.isnan().any()):
            raise ValueError("the model's output is not a number")
        if self._sampling.temperature == 0:
            return int(logits.argmax())
        values, tokens = self._candidates(logits.float())
        # By the distance to the first, which stays 0 however small the temperature is.
        distances = (values - values[0]) / max(self._sampling.temperature, TEMPERATURE_MIN)
        probabilities = torch.softmax(distances, dim=-1)
        if self._sampling.top_p < 1:
            # The first token is always in; each further one only if those before it do not reach top_p.
            before = probabilities.cumsum(-1) - probabilities
            probabilities = probabilities.masked_fill(before >= self._sampling.top_p, 0.0)
        drawn = torch.multinomial(probabilities, 1, generator=self._generator)
        return int(tokens[drawn])

    def _candidates(self, logits: Tensor) -> tuple[Tensor, Tensor]:
        """Logits and their tokens, the most probable first."""
        size = logits.shape[-1]
        kept = min(self._sampling.top_k or size, size)
        values, tokens = torch.topk(logits, kept)
        return values, tokens
