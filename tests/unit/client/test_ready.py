"""modelzoo.load through the services, against transformers on the original files."""

import gc
from pathlib import Path

import torch
from transformers import AutoModel, AutoTokenizer

import modelzoo
from modelzoo import config
from modelzoo.cache_contents import CacheContents
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


def test_files_stay_in_the_cache_as_long_as_the_model_lives(client: Client, tmp_path: Path):
    client.push(tiny_sentence_encoder(tmp_path / "original"), "team/encoder")
    model = modelzoo.load("team/encoder", client=client)
    contents = CacheContents(config.cache_config().root, 1 << 40)
    assert contents.listing().models[0].in_use
    kept = contents.clean_all(dry_run=False)
    assert (kept.files, kept.in_use > 0) == (0, True)
    del model
    gc.collect()
    assert contents.clean_all(dry_run=False).in_use == 0
