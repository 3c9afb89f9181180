"""Real models through the whole cluster."""

import time
from pathlib import Path

import numpy
import pytest
import torch
from transformers import AutoModel, AutoTokenizer

import modelzoo
from support.cluster import Cluster
from support.waiting import eventually

CHAT = "zoo/smollm2-135m-instruct"
SENTENCES = "zoo/all-minilm-l6-v2"


async def test_the_first_message_arrives_while_the_worker_reports_the_request_as_running(starters: Cluster) -> None:
    async def is_running() -> bool:
        return sum(worker.running for worker in client.workers()) >= 1

    with starters.client() as client, client.generate(CHAT, "Write a long story.", max_tokens=400) as generation:
        assert next(generation)
        await eventually(is_running)
        with pytest.raises(RuntimeError):  # not finished
            _ = generation.finish


async def test_a_caller_who_leaves_ends_the_computation(starters: Cluster) -> None:
    async def is_idle() -> bool:
        return sum(worker.running + worker.queued for worker in client.workers()) == 0

    with starters.client() as client:
        with client.generate(CHAT, "Write a long story.", max_tokens=4000) as generation:
            assert next(generation)
            left = time.monotonic()
        await eventually(is_idle)
        # 4,000 tokens take minutes.
        assert time.monotonic() - left < 30


def test_a_loaded_model_computes_exactly_what_transformers_computes_from_the_files(
    starters: Cluster, tmp_path: Path, monkeypatch
) -> None:
    monkeypatch.setenv("ZOO_URL", starters.url)
    monkeypatch.setenv("ZOO_KEY", starters.admin_key)
    with starters.client() as client:
        original = client.pull(SENTENCES, tmp_path / "original")
    theirs = AutoModel.from_pretrained(original).eval()
    batch = AutoTokenizer.from_pretrained(original)(["a small dog", "the bank"], padding=True, return_tensors="pt")

    model = modelzoo.load(SENTENCES)
    processor = modelzoo.load_processor(SENTENCES)

    ours = processor(["a small dog", "the bank"], padding=True, return_tensors="pt")
    with torch.inference_mode():
        assert torch.equal(model(**ours).last_hidden_state, theirs(**batch).last_hidden_state)


def test_embeddings_are_those_of_the_models_own_pooling(starters: Cluster, tmp_path: Path) -> None:
    with starters.client() as client:
        directory = client.pull(SENTENCES, tmp_path / "original")
        ours = client.embed(SENTENCES, ["a small dog", "the bank raised its rate"])
    batch = AutoTokenizer.from_pretrained(directory)(
        ["a small dog", "the bank raised its rate"], padding=True, return_tensors="pt"
    )
    with torch.inference_mode():
        hidden = AutoModel.from_pretrained(directory).eval()(**batch).last_hidden_state
    mask = batch["attention_mask"].unsqueeze(-1)
    mean = torch.nn.functional.normalize((hidden * mask).sum(1) / mask.sum(1), dim=1)
    assert numpy.allclose(ours, mean.numpy(), atol=1e-5)


def test_no_process_but_the_worker_loads_torch(starters: Cluster) -> None:
    with starters.client() as client:
        client.embed(SENTENCES, ["hello"])
    processes = {process.name: Path(f"/proc/{process.pid}/maps") for process in starters.state().processes}
    assert {name for name, maps in processes.items() if "/libtorch" in maps.read_text()} == {"worker"}
