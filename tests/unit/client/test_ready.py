"""modelzoo.load through the services, against transformers on the original files."""

from pathlib import Path

import torch
from transformers import AutoModel, AutoTokenizer

import modelzoo
from modelzoo.client import Client
from support.tiny_models import tiny_sentence_encoder


def test_loaded_model_computes_what_transformers_computes(client: Client, tmp_path: Path):
    original = tiny_sentence_encoder(tmp_path / "original")
    client.push(original, "team/encoder")
    tokenizer = modelzoo.load_processor("team/encoder", client=client)
    inputs = tokenizer(["one sentence", "another"], padding=True, return_tensors="pt")
    assert inputs["input_ids"].equal(
        AutoTokenizer.from_pretrained(original)(["one sentence", "another"], padding=True, return_tensors="pt")[
            "input_ids"
        ]
    )
    model = modelzoo.load("team/encoder", client=client)
    assert not model.training
    with torch.no_grad():
        expected = AutoModel.from_pretrained(original)(**inputs).last_hidden_state
        assert torch.equal(model(**inputs).last_hidden_state, expected)
