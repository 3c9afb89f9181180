"""Models by name with fresh weights; those from the zoo are in tests/e2e/test_named_models.py."""

import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest
import torch

from modelzoo import models

# As torchvision and the papers count them; BERT's with the head of its masked language model.
PARAMETERS: dict[Callable[..., Any], int] = {
    models.alexnet: 61_100_840,
    models.resnet18: 11_689_512,
    models.resnet34: 21_797_672,
    models.resnet50: 25_557_032,
    models.resnet101: 44_549_160,
    models.resnet152: 60_192_808,
    models.bert_base_uncased: 109_514_298,
    models.gpt2: 124_439_808,
}


@pytest.mark.parametrize(("make", "count"), PARAMETERS.items(), ids=lambda value: getattr(value, "__name__", ""))
def test_each_has_its_published_number_of_parameters(make: Callable[..., Any], count: int) -> None:
    with torch.device("meta"):
        model = make()
    assert sum(parameter.numel() for parameter in model.parameters()) == count


def test_every_name_is_covered() -> None:
    assert {make.__name__ for make in PARAMETERS} == set(models.__all__)


def test_fresh_weights_follow_torchs_seed_and_give_logits() -> None:
    made = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        made.append(models.resnet18(pretrained=False))
    assert all(model.training for model in made)
    with torch.no_grad():
        first, again, other = (model.eval()(torch.ones(2, 3, 64, 64)) for model in made)
    assert first.shape == (2, 1000)
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert made[0].config.id2label[0] == "tench"


def test_importing_the_module_does_not_import_torch() -> None:
    probe = "import sys, modelzoo.models; print('torch' in sys.modules or 'transformers' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
