"""Pooling as the model's files say."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModel, AutoTokenizer

from modelzoo.errors import FailedPrecondition
from modelzoo.loading import load_directory
from modelzoo.tasks.embedding import Encoder, SentenceFiles
from support.tiny_models import tiny_sentence_encoder

TEXTS = ["a", "hello world", "naïve 😀", "x" * 40]


def vectors(directory: Path, texts: list[str]) -> torch.Tensor:
    tokenizer = AutoTokenizer.from_pretrained(directory)
    encoder = Encoder(load_directory(directory), SentenceFiles.read(directory), tokenizer.pad_token_id)
    return torch.tensor(encoder.encode([encoder.prepare(tokenizer.encode, text) for text in texts]))


@pytest.mark.parametrize("normalise", [True, False])
@pytest.mark.parametrize("pooling", ["mean", "cls"])
def test_a_batch_gives_what_transformers_gives_for_each(tmp_path: Path, pooling: str, normalise: bool) -> None:
    directory = tiny_sentence_encoder(tmp_path, pooling=pooling, normalise=normalise)
    model, tokenizer = AutoModel.from_pretrained(directory), AutoTokenizer.from_pretrained(directory)
    for text, found in zip(TEXTS, vectors(directory, TEXTS), strict=True):
        with torch.no_grad():
            hidden = model(**tokenizer(text, return_tensors="pt")).last_hidden_state[0]
        expected = hidden[0] if pooling == "cls" else hidden.mean(0)
        expected = expected / expected.norm() if normalise else expected
        torch.testing.assert_close(found, expected, atol=1e-5, rtol=0)


def write(path: Path, content: Any) -> None:
    path.write_text(json.dumps(content))


def test_a_model_without_such_files_is_pooled_by_the_mean(tmp_path: Path) -> None:
    assert SentenceFiles.read(tmp_path) == SentenceFiles()


def test_lower_case_and_prefix_are_applied(tmp_path: Path) -> None:
    directory = tiny_sentence_encoder(tmp_path)
    plain = vectors(directory, ["query: hello"])
    write(directory / "sentence_bert_config.json", {"max_seq_length": 64, "do_lower_case": True})
    prompts = {"prompts": {"query": "query: "}, "default_prompt_name": "query"}
    write(directory / "config_sentence_transformers.json", prompts)
    assert torch.equal(vectors(directory, ["HELLO"]), plain)


@pytest.mark.parametrize(
    "modules",
    [
        [{"type": "sentence_transformers.models.Dense", "path": "2_Dense"}],
        [{"type": "somebody.code.Pooling2", "path": ""}],
        [{"type": "sentence_transformers.models.Pooling", "path": "../elsewhere"}],
        [{"type": "sentence_transformers.models.Pooling", "path": "max"}],
        [{"type": "sentence_transformers.models.Pooling", "path": "both"}],
    ],
)
def test_steps_that_are_not_computed_here_are_refused(tmp_path: Path, modules: list[dict[str, str]]) -> None:
    for name, modes in {"max": ["max_tokens"], "both": ["mean_tokens", "cls_token"]}.items():
        (tmp_path / name).mkdir()
        write(tmp_path / name / "config.json", {f"pooling_mode_{mode}": True for mode in modes})
    write(tmp_path / "modules.json", modules)
    with pytest.raises(FailedPrecondition) as caught:
        SentenceFiles.read(tmp_path)
    assert caught.value.reason == "MODEL_UNSUPPORTED"


@pytest.mark.parametrize("modules", [{"a": 1}, [1], "x"])
def test_damaged_steps_are_said_to_be(tmp_path: Path, modules: Any) -> None:
    write(tmp_path / "modules.json", modules)
    with pytest.raises(FailedPrecondition) as caught:
        SentenceFiles.read(tmp_path)
    assert caught.value.reason == "MODEL_LOAD_FAILED"


def test_a_context_that_the_model_cannot_compute_is_found_on_loading(tmp_path: Path) -> None:
    directory = tiny_sentence_encoder(tmp_path)
    encoder = Encoder(load_directory(directory), SentenceFiles(), 0)
    encoder.check(128)
    with pytest.raises(FailedPrecondition, match="129") as caught:
        encoder.check(129)
    assert caught.value.reason == "MODEL_LOAD_FAILED"


def test_what_is_no_number_is_an_error(tmp_path: Path) -> None:
    directory = tiny_sentence_encoder(tmp_path)
    model: Any = load_directory(directory)
    with torch.no_grad():
        model.embeddings.word_embeddings.weight[9] = float("nan")
    encoder = Encoder(model, SentenceFiles(), 0)
    encoder.encode([[3, 8, 4]])
    with pytest.raises(ValueError, match="not a number"):
        encoder.encode([[3, 9, 4]])
