"""AlexNet and EfficientNet-Lite: that Auto classes know them, and that they are the published networks."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoConfig, AutoModel, AutoModelForImageClassification

from modelzoo import architectures
from modelzoo.architectures.efficientnet_lite import EfficientNetLiteConfig, EfficientNetLiteForImageClassification
from modelzoo.errors import FailedPrecondition
from modelzoo.loading import load_directory

SMALL: dict[str, dict[str, Any]] = {
    "alexnet": {"hidden_sizes": [16, 16, 16, 16, 16], "classifier_size": 64},
    "efficientnet_lite": {
        "kernel_sizes": [3, 5],
        "out_channels": [8, 16],
        "strides": [1, 2],
        "num_block_repeats": [1, 2],
        "expand_ratios": [1, 4],
        "stem_size": 8,
        "head_size": 12,
    },
}


def small(model_type: str, **settings: Any) -> Any:
    architectures.register()
    config = AutoConfig.for_model(model_type, **SMALL[model_type], num_labels=5, **settings)
    torch.manual_seed(0)
    return AutoModelForImageClassification.from_config(config)


@pytest.mark.parametrize("model_type", SMALL)
def test_a_saved_directory_loads_to_the_same_model(model_type: str, tmp_path: Path) -> None:
    architectures.register()  # a second time changes nothing
    made = small(model_type).eval()
    made.save_pretrained(tmp_path)
    loaded = load_directory(tmp_path)
    pictures = torch.randn(2, 3, 64, 70)
    with torch.no_grad():
        assert torch.equal(loaded(pictures).logits, made(pictures).logits)
    assert (type(loaded), loaded.training) == (type(made), False)
    assert type(AutoModel.from_config(made.config)).__name__ == type(made).__name__.replace(
        "ForImageClassification", "Model"
    )


@pytest.mark.parametrize("model_type", SMALL)
def test_a_few_steps_along_the_gradient_lower_the_loss(model_type: str) -> None:
    model = small(model_type, dropout_rate=0.0, drop_connect_rate=0.0)
    labels = torch.arange(10) % 5
    pictures = torch.randn(5, 3, 1, 1)[labels].expand(10, 3, 64, 64)  # a colour for each label
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    losses = []
    for _ in range(5):
        loss = model(pictures, labels=labels).loss
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.detach())
    assert losses[-1] < losses[0]
    assert all(parameter.grad is not None for parameter in model.parameters())


def test_dropped_blocks_change_training_and_leave_evaluation_alone() -> None:
    model = small("efficientnet_lite", dropout_rate=0.0, drop_connect_rate=0.9)
    pictures = torch.randn(8, 3, 32, 32)
    with torch.no_grad():
        assert not torch.equal(model(pictures).logits, model(pictures).logits)
        assert torch.equal(model.eval()(pictures).logits, model(pictures).logits)


@pytest.mark.parametrize(("model_type", "count"), [("alexnet", 6), ("efficientnet_lite", 4)])
def test_tuples_and_hidden_states_come_where_they_are_asked_for(model_type: str, count: int) -> None:
    model, pictures = small(model_type).eval(), torch.randn(1, 3, 64, 64)
    assert model(pictures).hidden_states is None
    assert len(model(pictures, output_hidden_states=True).hidden_states) == count
    assert torch.equal(model(pictures, return_dict=False)[0], model(pictures).logits)


# Parameters in millions as the variants were published; within what their rounding allows.
@pytest.mark.parametrize(("number", "millions"), [*enumerate([4.7, 5.4, 6.1, 8.2, 13.0])])
def test_each_lite_variant_has_its_published_number_of_parameters(number: int, millions: float) -> None:
    with torch.device("meta"):
        model = EfficientNetLiteForImageClassification(EfficientNetLiteConfig.lite(number, num_labels=1000))
    assert sum(parameter.numel() for parameter in model.parameters()) / 1e6 == pytest.approx(millions, abs=0.06)


@pytest.mark.parametrize(
    ("model_type", "settings"),
    [
        ("alexnet", {"hidden_sizes": [64, 64]}),
        ("alexnet", {"classifier_size": 0}),
        ("efficientnet_lite", {"strides": [1]}),
        ("efficientnet_lite", {"depth_coefficient": 1e9}),
        ("efficientnet_lite", {"num_block_repeats": [1, 100_000]}),
    ],
)
def test_a_config_that_no_network_can_have_is_refused(
    model_type: str, settings: dict[str, Any], tmp_path: Path
) -> None:
    small(model_type).save_pretrained(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps({**config, **settings}))
    with pytest.raises(FailedPrecondition):
        load_directory(tmp_path)
