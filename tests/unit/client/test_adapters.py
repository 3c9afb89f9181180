"""Adapters loaded as models: the bits that merging leaves, the base's pages, and what is refused."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import PeftModel
from typer.testing import Result

import modelzoo
from modelzoo.client import Client
from modelzoo.errors import FailedPrecondition
from modelzoo.loading import load_directory
from modelzoo.lora import load_adapted, merge_lora
from modelzoo.records import Parent
from support.tiny_adapters import lora_of
from support.tiny_models import tiny_gpt2, tiny_llama

# Two ways to add up the same numbers in float32.
TOLERANCE = 1e-5
TOKENS = torch.tensor([[10, 20, 30, 40]])
HALF, WHOLE, CONVOLUTIONS = "half", "whole", "convolutions"
KINDS: Mapping[str, tuple[str, Mapping[str, Any]]] = {
    "lora": (WHOLE, {}),
    "rslora": (HALF, {"use_rslora": True}),
    "dora by layer": (HALF, {"use_dora": True, "rank_pattern": {"q_proj": 2}, "alpha_pattern": {"v_proj": 3}}),
    "whole modules": (HALF, {"target_modules": ["v_proj"], "modules_to_save": ["norm"]}),
    "biases": (CONVOLUTIONS, {"bias": "all", "target_modules": ["c_attn"], "fan_in_fan_out": True}),
}


def logits_of(model: Any) -> torch.Tensor:
    with torch.no_grad():
        return model(TOKENS).logits


def mapped_from(folder: Path, model: Any) -> set[str]:
    """Names of tensors that lie in a file of the folder."""
    lines = [line.split() for line in Path("/proc/self/maps").read_text().splitlines() if str(folder) in line]
    ranges = [tuple(int(end, 16) for end in line[0].split("-")) for line in lines]
    return {
        name for name, each in model.named_parameters() if any(low <= each.data_ptr() < high for low, high in ranges)
    }


@pytest.fixture(scope="module")
def bases(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("bases")
    return {
        WHOLE: tiny_llama(root / WHOLE),
        HALF: tiny_llama(root / HALF, dtype=torch.bfloat16),
        CONVOLUTIONS: tiny_gpt2(root / CONVOLUTIONS),  # layers that are stored transposed, have biases, and are tied
    }


@pytest.mark.parametrize("kind", KINDS)
def test_loaded_it_has_the_bits_that_merging_leaves_which_are_pefts(
    bases: dict[str, Path], tmp_path: Path, kind: str
) -> None:
    named, settings = KINDS[kind]
    base, lora = bases[named], lora_of(bases[named], tmp_path / "lora", **settings)
    stored, before = load_directory(base).dtype, (base / "model.safetensors").read_bytes()
    merge_lora(base, lora, tmp_path / "merged")
    for dtype in (None, torch.float32):
        adapted, merged = load_adapted(base, lora, dtype), load_directory(tmp_path / "merged", dtype)
        assert adapted.state_dict().keys() == merged.state_dict().keys()
        for (name, ours), theirs in zip(adapted.state_dict().items(), merged.state_dict().values(), strict=True):
            assert (ours.dtype, torch.equal(ours, theirs)) == (theirs.dtype, True), name
        assert torch.equal(logits_of(adapted), logits_of(merged))
        assert {(each.requires_grad, adapted.training) for each in adapted.parameters()} == {(True, False)}
    whole: Any = PeftModel.from_pretrained(load_directory(base, torch.float32), lora).merge_and_unload()
    for parameter in whole.parameters():
        parameter.data = parameter.data.to(stored).float()  # rounded once, where the base is stored in less
    assert (logits_of(adapted) - logits_of(whole)).abs().max() < TOLERANCE
    assert (logits_of(adapted) - logits_of(load_directory(base, torch.float32))).abs().max() > TOLERANCE * 100
    assert (base / "model.safetensors").read_bytes() == before


def test_layers_that_an_expression_names_are_those_with_tensors_and_it_is_not_evaluated(
    bases: dict[str, Path], tmp_path: Path
) -> None:
    lora = lora_of(bases[WHOLE], tmp_path / "lora", target_modules=r".*\.1\..*proj")
    expected = logits_of(load_adapted(bases[WHOLE], lora))
    path = lora / "adapter_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"target_modules": "(([a-z_.]+)+[0-9]?)+!"}))
    assert torch.equal(logits_of(load_adapted(bases[WHOLE], lora)), expected)


HOSTILE: tuple[tuple[dict[str, Any], str], ...] = (
    ({"r": 10**9}, "size mismatch"),  # and 100 GB are not asked for
    ({"rank_pattern": {"(a|aa)+b": 4}}, "regular expressions"),
    ({"exclude_modules": "(a|aa)+b"}, "regular expressions"),
    ({"layers_pattern": ["(a|aa)+b"], "layers_to_transform": [0]}, "regular expressions"),
    ({"modules_to_save": ["", "layers"]}, "whole modules"),
    ({"target_modules": ["q_proj"] * 5000}, "more than 4096"),
    ({"lora_alpha": float("inf")}, "NaN"),
    ({"lora_alpha": "much"}, "str"),
)


def test_settings_that_would_cost_much_are_refused_before_they_do(bases: dict[str, Path], tmp_path: Path) -> None:
    path = lora_of(bases[WHOLE], tmp_path / "lora", target_modules=["q_proj"]) / "adapter_config.json"
    honest = json.loads(path.read_text())
    for settings, says in HOSTILE:
        path.write_text(json.dumps(honest | settings))
        with pytest.raises(FailedPrecondition, match=says) as caught:
            load_adapted(bases[WHOLE], path.parent)
        assert caught.value.reason == "ADAPTER_UNSUITABLE"


def test_what_it_does_not_change_stays_in_the_bases_file_for_all_adapters(
    bases: dict[str, Path], tmp_path: Path
) -> None:
    base = bases[HALF]
    before = (base / "model.safetensors").read_bytes()
    adapters = [lora_of(base, tmp_path / str(seed), seed=seed, target_modules=["q_proj"]) for seed in (1, 2)]
    models = [load_adapted(base, adapter) for adapter in adapters]
    for model in models:
        names = {name for name, _ in model.named_parameters()}
        assert names - mapped_from(base, model) == {name for name in names if "q_proj" in name}
    assert not torch.equal(logits_of(models[0]), logits_of(models[1]))
    assert (base / "model.safetensors").read_bytes() == before


@pytest.fixture
def adapter(client: Client, bases: dict[str, Path], tmp_path: Path) -> Client:
    """With `team/base@1` and another `team/base@2`, and an adapter of the first, `team/lora@1`."""
    base = bases[WHOLE]
    client.push(base, "team/base")
    client.push(tiny_llama(tmp_path / "newer", seed=9), "team/base")
    lora = lora_of(base, tmp_path / "lora")
    (lora / "chat_template.jinja").write_text("taught")
    client.push(lora, "team/lora", format="adapter", parents=[Parent("team/base@1", "ADAPTER")])
    return client


def test_a_reference_is_run_as_its_merged_version_is_and_needs_no_merging_first(
    adapter: Client, zoo: Callable[..., Result]
) -> None:
    shown = zoo("show", "team/lora")
    assert ["adapter", "of", "team/base@1"] in [line.split() for line in shown.stdout.splitlines()], shown.stdout
    assert json.loads(zoo("show", "team/lora", "--json").stdout)["base"] == "team/base@1"
    ran = modelzoo.pipeline("team/lora", client=adapter)
    assert (ran.task, ran.reference) == ("text-generation", "team/lora@1")
    adapter.merge("team/lora", to="team/full")
    merged = modelzoo.pipeline("team/full", client=adapter)
    assert ran("hello", max_tokens=8) == merged("hello", max_tokens=8)
    loaded = modelzoo.load("team/lora", client=adapter)
    assert torch.equal(logits_of(loaded), logits_of(modelzoo.load("team/full", client=adapter)))
    for reference in ("team/lora", "team/full"):
        assert modelzoo.load_processor(reference, client=adapter).chat_template == "taught"


def test_an_adapter_of_an_adapter_and_one_whose_base_is_gone_are_refused(adapter: Client, tmp_path: Path) -> None:
    lora = adapter.pull("team/lora", tmp_path / "pulled")
    adapter.push(lora, "team/second", format="adapter", parents=[Parent("team/lora@1", "ADAPTER")])
    for run in (modelzoo.pipeline, modelzoo.load, modelzoo.load_processor):
        with pytest.raises(FailedPrecondition, match="`zoo merge` makes one of its base") as caught:
            run("team/second", client=adapter)
        assert caught.value.reason == "ADAPTER_UNSUITABLE"
    adapter.manage.delete_version("team/base@1")
    with pytest.raises(FailedPrecondition, match="team/base@1") as caught:
        modelzoo.load("team/lora", client=adapter)
    assert caught.value.reason == "ADAPTER_BASE_MISSING"
