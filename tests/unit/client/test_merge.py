"""`zoo merge`: base and adapter in one, once, with a lineage that says so; and what cannot be merged."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import PeftModel
from safetensors.torch import load_file, save_file
from typer.testing import Result

from modelzoo.client import Client
from modelzoo.errors import FailedPrecondition, NotFound, PermissionDenied
from modelzoo.loading import load_directory
from modelzoo.lora import merge_lora
from modelzoo.records import Parent
from support.front_door import FrontDoor
from support.tiny_adapters import lora_of
from support.tiny_models import tiny_llama

# Two ways to add up the same numbers in float32 differ by so much in logits of about 1.
TOLERANCE = 1e-4
TOKENS = torch.tensor([[10, 20, 30, 40]])


def logits_of(base: Path, adapter: Path | None = None) -> torch.Tensor:
    model: Any = load_directory(base, torch.float32)
    if adapter is not None:
        model = PeftModel.from_pretrained(model, adapter).eval()
    with torch.no_grad():
        return model(TOKENS).logits


@pytest.fixture(scope="module")
def llama(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_llama(tmp_path_factory.mktemp("models") / "llama")


@pytest.fixture(scope="module")
def lora(llama: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return lora_of(llama, tmp_path_factory.mktemp("models") / "lora", use_rslora=True)


@pytest.fixture
def adapter(client: Client, llama: Path, lora: Path, tmp_path: Path) -> Client:
    """With `team/base@1`, whose card names a licence, and its adapter `team/lora@1`."""
    licensed = tmp_path / "licensed"
    shutil.copytree(llama, licensed)
    (licensed / "README.md").write_text("---\nlicense: apache-2.0\n---\nA base")
    client.push(licensed, "team/base")
    client.push(lora, "team/lora", format="adapter", parents=[Parent("team/base@1", "ADAPTER")])
    return client


def test_the_merged_answers_as_base_and_adapter_do_and_names_both(adapter: Client, llama: Path, lora: Path):
    made = adapter.merge("team/lora", to="team/full", alias="prod")
    assert (made.reference, made.was_there, made.dtypes) == ("team/full@1", False, ("float32",))
    merged = adapter.pull("team/full@prod")
    difference = (logits_of(merged) - logits_of(llama, lora)).abs().max()
    assert difference < TOLERANCE < (logits_of(merged) - logits_of(llama)).abs().max()
    assert (merged / "tokenizer.json").read_bytes() == (llama / "tokenizer.json").read_bytes()
    assert adapter.model("team/full").licence == "apache-2.0"
    assert "the adapter `team/lora@1`" in (merged / "README.md").read_text()
    found = adapter.lineages.get("team/full@1", direction="up", depth=1)
    edges = {(found.nodes[edge.parent].reference, edge.kind) for edge in found.edges if edge.child == 0}
    assert edges == {("team/base@1", "MERGED"), ("team/lora@1", "MERGED")}


def test_merged_again_it_is_there_already_and_another_dtype_is_another_version(adapter: Client, door: FrontDoor):
    first = adapter.merge("team/lora", to="team/full")
    door.bytes_down = 0
    again = adapter.merge("team/lora@1", to="team/full")
    assert (again.reference, again.digest, again.was_there, again.bytes_sent) == (
        first.reference,
        first.digest,
        True,
        0,
    )
    half = adapter.merge("team/lora", to="team/full", dtype="bfloat16")
    assert (half.reference, half.dtypes) == ("team/full@2", ("bfloat16",))
    adapter.manage.delete_version("team/full@1")
    assert adapter.merge("team/lora", to="team/full").reference == "team/full@3"


def test_each_tensor_keeps_the_bases_dtype_and_is_rounded_once(client: Client, llama: Path, lora: Path, tmp_path: Path):
    client.push(tiny_llama(tmp_path / "half", dtype=torch.bfloat16), "team/half")
    client.push(lora, "team/lora", format="adapter")
    merged = client.pull(client.merge("team/lora", to="team/full", base="team/half").reference)
    whole: Any = PeftModel.from_pretrained(load_directory(tmp_path / "half", torch.float32), lora).merge_and_unload()
    for name, tensor in load_file(merged / "model.safetensors").items():
        assert torch.equal(tensor, whole.state_dict()[name].to(torch.bfloat16)), name


def test_a_wider_dtype_keeps_what_the_adapter_has_more_than_the_base(tmp_path: Path):
    base = tiny_llama(tmp_path / "half", dtype=torch.bfloat16)
    lora = lora_of(base, tmp_path / "lora", modules_to_save=["norm"])
    assert merge_lora(base, lora, tmp_path / "merged", "float32") == ("float32",)
    whole: Any = PeftModel.from_pretrained(load_directory(base, torch.float32), lora).merge_and_unload()
    for name, tensor in load_file(tmp_path / "merged" / "model.safetensors").items():
        assert torch.equal(tensor, whole.state_dict()[name]), name


def test_what_is_no_adapter_or_has_no_base_is_refused(adapter: Client, lora: Path):
    with pytest.raises(FailedPrecondition, match=r"lacks adapter_config.json, adapter_model.safetensors") as caught:
        adapter.merge("team/base", to="team/full")
    assert caught.value.reason == "ADAPTER_EXPECTED"
    adapter.push(lora, "team/orphan", format="adapter")
    with pytest.raises(FailedPrecondition, match="its lineage names no base: name it with --base") as caught:
        adapter.merge("team/orphan", to="team/full")
    assert caught.value.reason == "ADAPTER_BASE_MISSING"
    adapter.manage.delete_version("team/base@1")
    with pytest.raises(FailedPrecondition, match="team/base@1") as caught:
        adapter.merge("team/lora", to="team/full")
    assert caught.value.reason == "ADAPTER_BASE_MISSING"


def test_where_it_could_not_be_published_nothing_is_fetched(adapter: Client, door: FrontDoor):
    said: list[str] = []
    with pytest.raises(NotFound) as caught:
        adapter.merge("team/lora", to="nope/full", said=said.append)
    assert (caught.value.reason, said) == ("NAMESPACE_NOT_FOUND", [])
    with Client(door.url, "viewer-key") as viewer, pytest.raises(PermissionDenied) as caught:
        viewer.merge("team/lora", to="team/full", said=said.append)
    assert (caught.value.reason, said) == ("ROLE_MISSING", [])


def narrow(folder: Path) -> None:
    tensors = load_file(folder / "adapter_model.safetensors")
    name = min(name for name in tensors if "lora_A" in name)
    save_file(tensors | {name: tensors[name][:, :-1].contiguous()}, folder / "adapter_model.safetensors")


def beyond(folder: Path) -> None:
    tensors = load_file(folder / "adapter_model.safetensors")
    named = {name.replace("layers.1.", "layers.7."): tensor for name, tensor in tensors.items()}
    save_file(named, folder / "adapter_model.safetensors")


def setting(**values: Any) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        path = folder / "adapter_config.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | values))

    return change


UNFIT = (
    (narrow, "size mismatch"),
    (beyond, "layers that the base lacks"),
    (setting(peft_type="PREFIX_TUNING"), "only LoRA"),
    (setting(target_modules=["nowhere"]), "nowhere"),
    (setting(alora_invocation_tokens=[1]), "alora_invocation_tokens"),
)


def test_adapters_that_do_not_fit_are_refused_with_the_reason(adapter: Client, lora: Path, tmp_path: Path):
    for number, (spoil, says) in enumerate(UNFIT):
        spoil(shutil.copytree(lora, tmp_path / str(number)))
        adapter.push(tmp_path / str(number), "team/bad", format="adapter", parents=[Parent("team/base@1", "ADAPTER")])
        with pytest.raises(FailedPrecondition, match=says) as caught:
            adapter.merge("team/bad", to="team/full")
        assert caught.value.reason == "ADAPTER_UNSUITABLE"


def test_the_command_says_what_it_made_and_what_is_there(adapter: Client, zoo: Callable[..., Result]):
    made = zoo("merge", "team/lora", "--to", "team/full")
    assert (made.exit_code, made.stdout) == (0, "team/full@1\n"), made.stderr
    assert "adding team/lora@1 to team/base@1" in made.stderr
    told = json.loads(zoo("merge", "team/lora", "--to", "team/full", "--json").stdout)
    assert (told["reference"], told["was_there"]) == ("team/full@1", True)
    assert zoo("merge", "team/lora", "--to", "team/full", "--dtype", "int3").exit_code == 6
