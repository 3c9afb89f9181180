"""Draws at the edges of what a request may ask for; whole texts are in test_generation.py."""

import pytest
import torch

from zoo_inference.engine import Sampling
from zoo_inference.generation.sampler import Sampler


@pytest.mark.parametrize("temperature", [1e-45, 1e-38, 1e-6, 0.0])
def test_next_to_no_temperature_takes_the_most_probable_token(temperature: float) -> None:
    logits = torch.tensor([1.0, 30.0, -torch.inf, 2.0])
    assert Sampler(Sampling(temperature)).draw(logits) == 1


def test_what_top_k_and_top_p_leave_out_is_never_drawn() -> None:
    logits = torch.tensor([3.0, 2.9, 2.8, -1.0, -2.0])
    by_rank = Sampler(Sampling(2.0, top_k=2, seed=0))
    assert {by_rank.draw(logits) for _ in range(200)} == {0, 1}
    by_share = Sampler(Sampling(2.0, top_p=0.5, seed=0))
    assert {by_share.draw(logits) for _ in range(200)} == {0, 1}
