"""GGUF files become the models that they were written from, or are refused for a reason that is said."""

from copy import deepcopy
from pathlib import Path

import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM

from modelzoo.convert.check import check_directory
from modelzoo.convert.gguf import GgufFacts, convert
from modelzoo.errors import InvalidArgument
from modelzoo.loading import load_directory, load_processor_directory
from support.tiny_gguf import write_gguf
from support.tiny_models import byte_tokenizer

FACTS = {"general.name": "Tiny", "general.license": "mit", "general.source.url": "https://example.org/tiny"}


@pytest.fixture(scope="module")
def model() -> LlamaForCausalLM:
    torch.manual_seed(5)
    shape = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4}
    config = LlamaConfig(**shape, num_key_value_heads=2, vocab_size=len(byte_tokenizer()), max_position_embeddings=64)
    return LlamaForCausalLM(config).eval()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "folder").mkdir()
    return tmp_path / "folder"


def refusal(file: Path, folder: Path) -> str:
    with pytest.raises(InvalidArgument) as caught:
        convert(file, folder)
    assert (caught.value.reason, list(folder.iterdir())) == ("CHECKPOINT_UNSUPPORTED", [])
    return caught.value.message


def test_every_tensor_is_the_files_in_bfloat16(model: LlamaForCausalLM, folder: Path, tmp_path: Path):
    file = write_gguf(tmp_path / "tiny.gguf", model, fields=FACTS)
    facts = convert(file, folder)
    assert facts == GgufFacts("Tiny", "mit", "https://example.org/tiny", "F32")
    assert check_directory(folder).dtypes == ("bfloat16",)
    converted, wanted = load_directory(folder).state_dict(), deepcopy(model).to(torch.bfloat16).state_dict()
    assert converted.keys() == wanted.keys()
    assert [name for name in wanted if not torch.equal(converted[name], wanted[name])] == []
    text = "grüß Gott"
    assert load_processor_directory(folder).decode(load_processor_directory(folder)(text)["input_ids"]) == text


def test_missing_tensor_is_named_and_not_made_up(model: LlamaForCausalLM, folder: Path, tmp_path: Path):
    name = "model.layers.1.mlp.up_proj.weight"
    file = write_gguf(tmp_path / "tiny.gguf", model, fields={}, left_out=name)
    assert name in refusal(file, folder)


def test_unknown_architecture_is_named(model: LlamaForCausalLM, folder: Path, tmp_path: Path):
    file = write_gguf(tmp_path / "tiny.gguf", model, fields={}, architecture="clip")
    message = refusal(file, folder)
    assert "'clip'" in message
    assert "llama" in message


def test_part_of_a_split_file_says_how_to_join_it(model: LlamaForCausalLM, folder: Path, tmp_path: Path):
    file = write_gguf(tmp_path / "tiny.gguf", model, fields={"split.count": 2})
    assert "--merge" in refusal(file, folder)


@pytest.mark.parametrize("kept", [0.9, 0.001])
def test_truncated_file_is_refused(model: LlamaForCausalLM, folder: Path, tmp_path: Path, kept: float):
    file = write_gguf(tmp_path / "tiny.gguf", model, fields={})
    content = file.read_bytes()
    file.write_bytes(content[: int(len(content) * kept)])
    assert "damaged or cut off" in refusal(file, folder)


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04", b"GGU", b"GGML" * 100])
def test_what_is_no_gguf_is_refused(folder: Path, tmp_path: Path, content: bytes):
    (tmp_path / "x.gguf").write_bytes(content)
    assert "not a GGUF file" in refusal(tmp_path / "x.gguf", folder)


def test_file_that_is_not_there(folder: Path, tmp_path: Path):
    with pytest.raises(InvalidArgument) as caught:
        convert(tmp_path / "none.gguf", folder)
    assert caught.value.reason == "LOCAL_PATH_INVALID"
