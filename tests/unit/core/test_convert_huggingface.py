"""Directories in Hugging Face layout: what comes out computes as what went in, and is nothing but a model."""

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import transformers as hf
from safetensors.torch import load_file, save_file

from modelzoo.convert.card import Origin, write_card
from modelzoo.convert.check import check_directory
from modelzoo.convert.huggingface import assemble
from modelzoo.errors import FailedPrecondition, InvalidArgument
from modelzoo.loading import load_directory
from modelzoo.progress import Silence
from support.tiny_models import tiny_gpt2, tiny_sentence_encoder

SIZE = {"vocab_size": 99, "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4}
TOKENS = {"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2, "decoder_start_token_id": 1}
WHISPER = {
    "vocab_size": 99,
    "d_model": 32,
    "num_mel_bins": 8,
    "max_source_positions": 32,
    "max_target_positions": 16,
    "encoder_layers": 1,
    "encoder_attention_heads": 2,
    "encoder_ffn_dim": 64,
    "decoder_layers": 1,
    "decoder_attention_heads": 2,
    "decoder_ffn_dim": 64,
}


def bert() -> hf.PreTrainedModel:
    return hf.BertForMaskedLM(hf.BertConfig(**SIZE, max_position_embeddings=32))


def gpt2() -> hf.PreTrainedModel:
    shape = {"vocab_size": 99, "n_positions": 32, "n_embd": 32, "n_layer": 2, "n_head": 2}
    return hf.GPT2LMHeadModel(hf.GPT2Config(**shape, bos_token_id=1, eos_token_id=2))


def resnet() -> hf.PreTrainedModel:
    return hf.ResNetForImageClassification(hf.ResNetConfig(embedding_size=8, hidden_sizes=[8, 16], depths=[1, 1]))


def whisper() -> hf.PreTrainedModel:
    config = hf.WhisperConfig(**WHISPER, **TOKENS, suppress_tokens=None, begin_suppress_tokens=None)
    return hf.WhisperForConditionalGeneration(config)


def t5() -> hf.PreTrainedModel:
    shape = {"vocab_size": 99, "d_model": 32, "d_kv": 8, "d_ff": 64, "num_layers": 2, "num_heads": 4}
    return hf.T5ForConditionalGeneration(hf.T5Config(**shape, decoder_start_token_id=0))


def llama() -> hf.PreTrainedModel:
    return hf.LlamaForCausalLM(hf.LlamaConfig(**SIZE, num_key_value_heads=2))


def whole(model: hf.PreTrainedModel, folder: Path) -> None:
    model.save_pretrained(folder)


def sharded(model: hf.PreTrainedModel, folder: Path) -> None:
    model.save_pretrained(folder, max_shard_size="20KB")


def pickled(model: hf.PreTrainedModel, folder: Path) -> None:
    model.config.architectures = [type(model).__name__]
    model.config.save_pretrained(folder)
    torch.save(model.state_dict(), folder / "pytorch_model.bin")


def pickled_shards(model: hf.PreTrainedModel, folder: Path) -> None:
    pickled(model, folder)
    tensors = torch.load(folder / "pytorch_model.bin", weights_only=True)
    (folder / "pytorch_model.bin").unlink()
    names, places = list(tensors), {}
    for number, part in enumerate((names[::2], names[1::2]), start=1):
        file = f"pytorch_model-0000{number}-of-00002.bin"
        torch.save({name: tensors[name] for name in part}, folder / file)
        places |= dict.fromkeys(part, file)
    (folder / "pytorch_model.bin.index.json").write_text(json.dumps({"metadata": {}, "weight_map": places}))


@pytest.fixture
def source(tmp_path: Path) -> Path:
    (tmp_path / "source").mkdir()
    return tmp_path / "source"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "folder").mkdir()
    return tmp_path / "folder"


def assert_equal(model: torch.nn.Module, other: torch.nn.Module) -> None:
    ours, theirs = model.state_dict(), other.state_dict()
    assert ours.keys() == theirs.keys()
    assert [name for name in ours if not torch.equal(ours[name], theirs[name])] == []


@pytest.mark.parametrize(
    ("make", "save"),
    [
        *((bert, pickled), (gpt2, pickled), (t5, pickled), (whisper, pickled_shards)),
        *((llama, sharded), (resnet, whole)),
    ],
)
def test_every_tensor_is_what_it_was(
    source: Path,
    folder: Path,
    make: Callable[[], hf.PreTrainedModel],
    save: Callable[[hf.PreTrainedModel, Path], None],
):
    torch.manual_seed(3)
    model = make().eval()
    save(model, source)
    assemble(source, folder, Silence())
    assert check_directory(folder).architecture == type(model).__name__
    assert_equal(load_directory(folder), model)
    assert_equal(type(model).from_pretrained(folder), model)  # as those do it who pull it


def test_safetensors_stay_byte_for_byte_and_the_source_as_it_is(source: Path, folder: Path):
    tiny_gpt2(source)
    before = {path.name: path.read_bytes() for path in source.iterdir()}
    found = assemble(source, folder, Silence())
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
    assert (found.left_out, found.was_pickled) == ((), False)
    write_card(folder, Origin("a", "b", "c"), check_directory(folder), "mit")
    assert {path.name: path.read_bytes() for path in source.iterdir()} == before


@pytest.mark.parametrize("is_pickled", [False, True])
def test_old_names_and_missing_prefixes_load(source: Path, folder: Path, is_pickled: bool):
    model = bert()
    whole(model, source)
    tensors = {
        name.replace("LayerNorm.weight", "LayerNorm.gamma").replace("LayerNorm.bias", "LayerNorm.beta"): tensor
        for name, tensor in load_file(source / "model.safetensors").items()
    }
    assert any(name.endswith("gamma") for name in tensors)
    if is_pickled:
        torch.save(tensors, source / "pytorch_model.bin")
        (source / "model.safetensors").unlink()
    else:
        save_file(tensors, source / "model.safetensors")
    assemble(source, folder, Silence())
    assert_equal(load_directory(folder), model)


def test_base_model_without_its_prefix_loads(source: Path, folder: Path):
    model = gpt2()
    whole(model, source)
    tensors = load_file(source / "model.safetensors")
    save_file({name.removeprefix("transformer."): tensors[name] for name in tensors}, source / "model.safetensors")
    assemble(source, folder, Silence())
    assert_equal(load_directory(folder), model)


def test_missing_tensors_are_named(source: Path, folder: Path):
    whole(llama(), source)
    tensors = load_file(source / "model.safetensors")
    del tensors["model.layers.1.mlp.up_proj.weight"], tensors["model.norm.weight"]
    save_file(tensors, source / "model.safetensors")
    assemble(source, folder, Silence())
    with pytest.raises(FailedPrecondition, match=r"2 tensors.*layers\.1\.mlp\.up_proj\.weight, model\.norm") as caught:
        check_directory(folder)
    assert caught.value.reason == "MODEL_LOAD_FAILED"


def test_code_pickles_and_other_frameworks_stay_behind(source: Path, folder: Path):
    tiny_gpt2(source)
    kept = {path.name for path in source.iterdir()}
    torch.save({"a": torch.zeros(2)}, source / "optimizer.pt")
    torch.save({"a": torch.zeros(2)}, source / "notes.txt")  # under an innocent name
    (source / "onnx").mkdir()
    (source / "checkpoint-5").mkdir()
    others = ["modeling_evil.py", "tf_model.h5", "onnx/config.json", "checkpoint-5/config.json", "pytorch_model.bin"]
    for name in (*others, ".hidden.json", "LICENSE.txt", "chat_template.jinja"):
        (source / name).write_bytes(b"{}")
    found = assemble(source, folder, Silence())
    assert {path.name for path in folder.iterdir()} == kept | {"LICENSE.txt", "chat_template.jinja"}
    assert {*found.left_out} == {*others, "optimizer.pt", "notes.txt"}


def test_sentence_encoder_keeps_its_modules(source: Path, folder: Path):
    tiny_sentence_encoder(source)
    assemble(source, folder, Silence())
    assert (folder / "1_Pooling" / "config.json").read_bytes() == (source / "1_Pooling" / "config.json").read_bytes()


class Evil:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, ...]:
        return os.system, (f"touch {self.path}",)


def test_malicious_weights_are_refused_and_nothing_runs(source: Path, folder: Path, tmp_path: Path):
    pickled(gpt2(), source)
    torch.save({"a": torch.zeros(2), "b": Evil(tmp_path / "ran")}, source / "pytorch_model.bin")
    with pytest.raises(InvalidArgument) as caught:
        assemble(source, folder, Silence())
    assert (caught.value.reason, (tmp_path / "ran").exists()) == ("PICKLE_REFUSED", False)


def test_link_to_a_private_file_is_refused_and_the_hubs_own_cache_is_not(tmp_path: Path, source: Path, folder: Path):
    snapshot, blobs = source / "snapshots" / "abc", source / "blobs"
    tiny_gpt2(blobs)
    snapshot.mkdir(parents=True)
    for number, path in enumerate(list(blobs.iterdir())):
        path.rename(blobs / str(number))
        (snapshot / path.name).symlink_to(f"../../blobs/{number}")
    assemble(snapshot, folder, Silence())
    assert not any(path.is_symlink() for path in folder.iterdir())
    assert check_directory(folder).has_processor
    (tmp_path / "id_rsa").write_text("private")
    (snapshot / "README.md").symlink_to(tmp_path / "id_rsa")
    with pytest.raises(InvalidArgument, match="leaves the directory"):
        assemble(snapshot, tmp_path / "other", Silence())


@pytest.mark.parametrize(
    "before",
    ["---\nlicense: mit\ntags: [a]\n---\n# T\n", "---\nlicense:\n- mit\n- x\ntags: [a]\n---\n# T\n"],
)
def test_licence_replaces_what_a_card_says(source: Path, before: str):
    tiny_gpt2(source)
    (source / "README.md").write_text(before)
    write_card(source, Origin("a", "b", "c"), check_directory(source), "apache-2.0")
    assert (source / "README.md").read_text() == '---\nlicense: "apache-2.0"\ntags: [a]\n---\n# T\n'


def test_card_is_made_where_there_is_none(source: Path):
    tiny_gpt2(source)
    origin = Origin("My\nmodel", "file.gguf sha256:ab", "Converted.", 'mit"\nevil: 1')
    write_card(source, origin, check_directory(source), None)
    text = (source / "README.md").read_text()
    assert text.startswith('---\nlicense: "mit\\" evil: 1"\n---\n# My model\n')
    for part in ("GPT2LMHeadModel", "file.gguf sha256:ab", "Converted."):
        assert part in text
