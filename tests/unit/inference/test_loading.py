"""modelzoo.loading against transformers' own loading."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    ByT5Tokenizer,
    ImageGPTConfig,
    ImageGPTImageProcessor,
    LlamaForCausalLM,
    T5Config,
    T5ForConditionalGeneration,
)

from modelzoo.errors import FailedPrecondition, Unavailable
from modelzoo.loading import load_directory, load_processor_directory
from support.malicious import ATTACK, MARK
from support.tiny_models import tiny_gpt2, tiny_llama, tiny_sentence_encoder
from support.tiny_task_models import tiny_image_classifier, tiny_text_classifier, tiny_transcriber
from zoo_inference.pages import touch_pages


def test_tied_weights_are_one_tensor(tmp_path: Path) -> None:
    model = load_directory(tiny_gpt2(tmp_path))
    assert model.lm_head.weight is model.transformer.wte.weight


def test_weights_lie_in_the_mapped_file(tmp_path: Path) -> None:
    model = load_directory(tiny_llama(tmp_path))
    start = model.model.embed_tokens.weight.data_ptr()
    ranges = [line.split() for line in Path("/proc/self/maps").read_text().splitlines() if str(tmp_path) in line]
    assert any(int(at[0].split("-")[0], 16) <= start < int(at[0].split("-")[1], 16) for at in ranges)


def test_the_module_is_built_before_the_weights_are_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole, early = tiny_llama(tmp_path / "whole"), tmp_path / "early"
    shutil.copytree(whole, early, ignore=shutil.ignore_patterns("*.safetensors"))
    built: list[type] = []
    prepare = LlamaForCausalLM.__init__
    monkeypatch.setattr(
        LlamaForCausalLM, "__init__", lambda *a, **k: (built.append(LlamaForCausalLM), prepare(*a, **k))[1]
    )

    def weights() -> Path:
        assert built == [LlamaForCausalLM]
        return whole

    loaded, expected = load_directory(early, weights=weights).state_dict(), load_directory(whole).state_dict()
    assert all(torch.equal(loaded[name], tensor) for name, tensor in expected.items())


def test_what_keeps_the_weights_from_coming_is_raised_as_it_is(tmp_path: Path) -> None:
    def weights() -> Path:
        raise Unavailable("STORAGE_UNAVAILABLE", "later")

    with pytest.raises(Unavailable, match="later"):
        load_directory(tiny_llama(tmp_path), weights=weights)


def test_touching_pages_changes_nothing(tmp_path: Path) -> None:
    model = load_directory(tiny_gpt2(tmp_path))
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    touch_pages(model)
    assert all(torch.equal(before[name], tensor) for name, tensor in model.state_dict().items())


def test_shards_are_put_together(tmp_path: Path) -> None:
    whole = tiny_llama(tmp_path / "whole")
    model = AutoModelForCausalLM.from_pretrained(whole)
    model.save_pretrained(tmp_path / "shards", max_shard_size="20KB")
    assert len(list((tmp_path / "shards").glob("*.safetensors"))) > 1
    loaded = load_directory(tmp_path / "shards").state_dict()
    assert all(torch.equal(loaded[name], tensor) for name, tensor in model.state_dict().items())


def test_another_dtype_is_made_on_loading(tmp_path: Path) -> None:
    model = load_directory(tiny_llama(tmp_path, dtype=torch.bfloat16), torch.float32)
    assert {parameter.dtype for parameter in model.parameters()} == {torch.float32}


def test_end_tokens_come_from_the_generation_config(tmp_path: Path) -> None:
    directory = tiny_llama(tmp_path)
    (directory / "generation_config.json").write_text(json.dumps({"eos_token_id": [1, 5]}))
    assert load_directory(directory).generation_config.eos_token_id == [1, 5]


def test_the_tokenizer_is_the_models_own(tmp_path: Path) -> None:
    directory = tiny_llama(tmp_path)
    text = "naïve 😀"
    assert load_processor_directory(directory).encode(text) == AutoTokenizer.from_pretrained(directory).encode(text)


@pytest.mark.parametrize("kept", [(), ("tokenizer_config.json",)])
@pytest.mark.parametrize("make", [tiny_text_classifier, tiny_llama, tiny_transcriber])
def test_a_tokenizer_that_is_not_there_is_not_made_up(
    tmp_path: Path, make: Callable[[Path], Path], kept: tuple[str, ...]
) -> None:
    directory = make(tmp_path)
    for file in set(directory.glob("*token*")) | set(directory.glob("vocab*")) | set(directory.glob("merges*")):
        if file.name not in kept:
            file.unlink()
    with pytest.raises(FailedPrecondition, match=r"no tokenizer: publish it with tokenizer\.json") as caught:
        load_processor_directory(directory)
    assert caught.value.reason == "MODEL_LOAD_FAILED"


def test_a_vocabulary_of_special_tokens_only_is_no_tokenizer(tmp_path: Path) -> None:
    directory = tiny_text_classifier(tmp_path)
    (directory / "tokenizer.json").unlink()
    (directory / "tokenizer_config.json").unlink()
    (directory / "vocab.txt").write_text("[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\n")
    with pytest.raises(FailedPrecondition, match="no tokenizer"):
        load_processor_directory(directory)


def test_vocab_txt_alone_is_a_tokenizer_of_bert(tmp_path: Path) -> None:
    directory = tiny_text_classifier(tmp_path)
    (directory / "tokenizer.json").unlink()
    (directory / "tokenizer_config.json").unlink()
    (directory / "vocab.txt").write_text("[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\na\ncat\n")
    assert load_processor_directory(directory).encode("a cat") == [2, 5, 6, 3]


def test_a_tokenizer_of_bytes_needs_no_vocabulary(tmp_path: Path) -> None:
    T5ForConditionalGeneration(T5Config(vocab_size=384, d_model=8, d_kv=4, d_ff=8, num_layers=1)).save_pretrained(
        tmp_path
    )
    ByT5Tokenizer().save_pretrained(tmp_path)
    assert load_processor_directory(tmp_path).decode([100, 101]) == "ab"


def test_tokens_that_are_colours_need_no_vocabulary(tmp_path: Path) -> None:
    ImageGPTConfig(architectures=["ImageGPTForCausalImageModeling"]).save_pretrained(tmp_path)
    ImageGPTImageProcessor(clusters=[[-1.0, -1.0, -1.0], [1.0, 1.0, 1.0]]).save_pretrained(tmp_path)
    assert type(load_processor_directory(tmp_path)).__name__.startswith("ImageGPTImageProcessor")


@pytest.mark.parametrize("make", [tiny_image_classifier, tiny_transcriber])
def test_inputs_that_nothing_prepares_are_told_by_the_file_that_lacks(
    tmp_path: Path, make: Callable[[Path], Path]
) -> None:
    directory = make(tmp_path)
    for file in directory.glob("*processor_config.json"):
        file.unlink()
    with pytest.raises(FailedPrecondition, match=r"no preprocessor_config\.json: import it with one") as caught:
        load_processor_directory(directory)
    assert caught.value.reason == "MODEL_LOAD_FAILED"


def change_config(directory: Path, **changes: object) -> None:
    config = json.loads((directory / "config.json").read_text())
    (directory / "config.json").write_text(json.dumps(config | changes))


def test_a_missing_tensor_is_refused_not_made_up(tmp_path: Path) -> None:
    directory = tiny_llama(tmp_path)
    tensors = load_file(directory / "model.safetensors")
    del tensors["model.norm.weight"]
    save_file(tensors, directory / "model.safetensors", {"format": "pt"})
    with pytest.raises(FailedPrecondition, match=r"model\.norm\.weight") as caught:
        load_directory(directory)
    assert caught.value.reason == "MODEL_LOAD_FAILED"


def test_a_wrong_shape_is_refused(tmp_path: Path) -> None:
    directory = tiny_llama(tmp_path)
    change_config(directory, vocab_size=999)
    with pytest.raises(FailedPrecondition) as caught:
        load_directory(directory)
    assert caught.value.reason == "MODEL_LOAD_FAILED"


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"model_type": "mystery", "auto_map": {"AutoModel": "code.Model"}}, "its own code is never run"),
        ({"architectures": ["os"]}, "not one of transformers'"),
        ({"quantization_config": {"quant_method": "gptq"}}, "quantised"),
        ({"num_hidden_layers": 10**9}, "num_hidden_layers"),
    ],
)
def test_what_cannot_run_is_unsupported(tmp_path: Path, changes: dict[str, object], says: str) -> None:
    directory = tiny_llama(tmp_path)
    change_config(directory, **changes)
    with pytest.raises(FailedPrecondition, match=says) as caught:
        load_directory(directory)
    assert caught.value.reason == "MODEL_UNSUPPORTED"


def test_settings_that_reach_beyond_the_model_have_no_effect(tmp_path: Path) -> None:
    directory = tiny_llama(tmp_path)
    change_config(directory, _attn_implementation="somebody/kernels", fusion_config={"x": 1}, transformers_weights="a")
    assert load_directory(directory).config._attn_implementation == "sdpa"


def test_a_pickle_is_not_loaded(tmp_path: Path) -> None:
    directory = tiny_sentence_encoder(tmp_path)
    (directory / "model.safetensors").rename(directory / "pytorch_model.bin")
    with pytest.raises(FailedPrecondition, match="zoo import") as caught:
        load_directory(directory)
    assert caught.value.reason == "MODEL_UNSUPPORTED"


def test_damaged_weights_are_not_made_up_for_by_a_pickle_beside_them(tmp_path: Path) -> None:
    directory = tiny_sentence_encoder(tmp_path)
    weights = directory / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-8])
    for name in ("pytorch_model.bin", "model.pt", "model.pkl"):
        (directory / name).write_bytes(ATTACK)
    with pytest.raises(FailedPrecondition) as caught:
        load_directory(directory)
    assert caught.value.reason == "MODEL_LOAD_FAILED"
    assert not MARK.exists()


@pytest.mark.parametrize("content", [b"{", b"[" * 100_000, b"[]", b"\xff"])
def test_a_config_that_is_no_object_is_refused(tmp_path: Path, content: bytes) -> None:
    directory = tiny_llama(tmp_path)
    (directory / "config.json").write_bytes(content)
    with pytest.raises(FailedPrecondition, match=r"config\.json") as caught:
        load_directory(directory)
    assert caught.value.reason == "MODEL_LOAD_FAILED"


def test_an_index_may_not_name_files_elsewhere(tmp_path: Path) -> None:
    directory = tiny_llama(tmp_path / "model")
    index = {"weight_map": {"model.norm.weight": "../other.safetensors"}}
    (directory / "model.safetensors.index.json").write_text(json.dumps(index))
    with pytest.raises(FailedPrecondition, match="is not there"):
        load_directory(directory)
