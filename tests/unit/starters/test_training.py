"""Trained starters after two steps each: everything that the real ones have but the knowledge."""

import json
from pathlib import Path

import pytest
import torch

from modelzoo.architectures.alexnet import AlexNetConfig
from modelzoo.loading import load_directory, load_processor_directory
from zoo_starters.alexnet_digits import ALEXNET_DIGITS
from zoo_starters.bert_mini_wordnet import BERT_MINI_WORDNET
from zoo_starters.card import read_measured
from zoo_starters.command import WORK
from zoo_starters.digit_classifier import label_names, train_classifier
from zoo_starters.gpt2_mini import GPT2_MINI
from zoo_starters.resnet18_digits import RESNET18_DIGITS
from zoo_starters.starter import Starter
from zoo_starters.training import THREADS, Plan, deterministic, fit

STEPS = 2
# The user's own cache, so that packages are fetched once for all runs on this machine.
PACKAGES = WORK / "packages"


@pytest.mark.parametrize(
    "starter", [ALEXNET_DIGITS, RESNET18_DIGITS, BERT_MINI_WORDNET, GPT2_MINI], ids=lambda each: each.name
)
def test_a_few_steps_make_a_directory_that_loads_and_says_what_it_is(starter: Starter, tmp_path: Path) -> None:
    assert starter.training is not None
    starter.training.train(PACKAGES, tmp_path, STEPS)
    assert load_directory(tmp_path).config.model_type in starter.name
    assert load_processor_directory(tmp_path) is not None
    card = (tmp_path / "README.md").read_text()
    assert f"**A stand-in for tests and demonstrations: 2 of {starter.training.steps} training steps.**" in card
    assert f"pipeline_tag: {starter.task}\n" in card
    record = json.loads((tmp_path / "training.json").read_text())
    assert (record["steps"], record["full_steps"]) == (STEPS, starter.training.steps)
    for figure in read_measured(tmp_path):
        assert f"| {figure.metric} on {figure.items:,} {figure.on} | **{figure.trained:.3f}** |" in card


def test_training_twice_gives_the_same_bytes(tmp_path: Path) -> None:
    plan = Plan(seed=4, steps=STEPS, batch_size=16, peak_rate=1e-3)
    for name in ("first", "second"):
        config = AlexNetConfig(hidden_sizes=(8, 8, 8, 8, 8), classifier_size=16, **label_names())
        train_classifier(tmp_path / name, config, plan, name)
    first, second = (tmp_path / name / "model.safetensors" for name in ("first", "second"))
    assert first.read_bytes() == second.read_bytes()


def test_the_loop_learns_and_reports_what_it_took(capsys: pytest.CaptureFixture[str]) -> None:
    model = torch.nn.Linear(3, 1)
    plan = Plan(seed=0, steps=200, batch_size=16, peak_rate=0.1)
    with deterministic(plan.seed) as generator:

        def next_loss() -> torch.Tensor:
            inputs = torch.randn(plan.batch_size, 3, generator=generator)
            return (model(inputs) - inputs.sum(dim=1, keepdim=True)).square().mean()

        trained = fit(model, plan, next_loss, "sum")
    assert trained.loss < 0.05
    assert trained.parameters == 4
    assert not model.training
    assert capsys.readouterr().err.splitlines()[-1].startswith("sum: step 200 of 200, loss 0.0")


def test_the_rate_rises_then_falls_to_nothing() -> None:
    plan = Plan(seed=0, steps=100, batch_size=1, peak_rate=1.0, warmup=0.1)
    rates = [plan.rate(step) for step in range(plan.steps)]
    assert rates[0] == pytest.approx(0.1)
    assert max(rates) == rates[9] == rates[10] == 1.0
    assert rates[10:] == sorted(rates[10:], reverse=True)
    assert rates[-1] < 0.001


def test_torch_is_left_as_it_was() -> None:
    before = torch.get_num_threads(), torch.random.get_rng_state()
    with deterministic(1):
        assert torch.get_num_threads() == THREADS
        assert torch.are_deterministic_algorithms_enabled()
        torch.rand(3)
    assert torch.get_num_threads() == before[0]
    assert torch.equal(torch.random.get_rng_state(), before[1])
    assert not torch.are_deterministic_algorithms_enabled()
