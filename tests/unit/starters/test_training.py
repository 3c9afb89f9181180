"""Trained starters after one step each: everything that the real ones have but the knowledge."""

import json
from pathlib import Path

import pytest
import torch

from modelzoo.loading import load_directory, load_processor_directory
from zoo_starters.alexnet_digits import ALEXNET_DIGITS
from zoo_starters.bert_mini_wordnet import BERT_MINI_WORDNET
from zoo_starters.card import is_stand_in
from zoo_starters.command import WORK
from zoo_starters.gpt2_mini import GPT2_MINI
from zoo_starters.learned import Learned, read_tables
from zoo_starters.starter import STAND_IN_ITEMS, Starter
from zoo_starters.training import THREADS, deterministic

STEPS = 1
# The user's own cache, so that packages are fetched once for all runs on this machine.
PACKAGES = WORK / "packages"
LICENSED = (BERT_MINI_WORDNET, GPT2_MINI)


@pytest.mark.parametrize("starter", [ALEXNET_DIGITS, BERT_MINI_WORDNET, GPT2_MINI], ids=lambda each: each.name)
def test_what_a_job_would_train_is_trained_here_by_the_same_recipe(starter: Starter, tmp_path: Path) -> None:
    assert isinstance(starter.make, Learned)
    starter.make.train(PACKAGES, tmp_path, STEPS)
    assert load_directory(tmp_path).config.model_type in starter.name
    assert load_processor_directory(tmp_path) is not None
    card = (tmp_path / "README.md").read_text()
    assert f"**A stand-in for tests and demonstrations: 1 of {starter.make.steps} training steps.**" in card
    assert f"pipeline_tag: {starter.task}\n" in card
    assert (tmp_path / "LICENSE").exists() is (starter in LICENSED)
    assert json.loads((tmp_path / "training.json").read_text())["steps"] == STEPS
    assert is_stand_in(tmp_path, starter.make.steps)
    for figure in read_tables(tmp_path):
        assert figure.items == STAND_IN_ITEMS
        assert f"| {figure.metric} | {figure.untrained:.4f} | **{figure.trained:.4f}** |" in card


def test_torch_is_left_as_it_was() -> None:
    torch.use_deterministic_algorithms(False)  # whatever ran before
    before = torch.get_num_threads(), torch.random.get_rng_state()
    with deterministic(1):
        assert torch.get_num_threads() == THREADS
        assert torch.are_deterministic_algorithms_enabled()
        torch.rand(3)
    assert torch.get_num_threads() == before[0]
    assert torch.equal(torch.random.get_rng_state(), before[1])
    assert not torch.are_deterministic_algorithms_enabled()
