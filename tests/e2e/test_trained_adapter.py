"""A language model trained with LoRA, by command: from completions to an adapter, and from that to an answer."""

import json
import re
from pathlib import Path

import pytest

from support.cluster import Cluster, zoo

BASE = "zoo/smollm2-135m-instruct"
NAMESPACE = "e2e-adapter"
TRAINED_S = 300
STEPS, ROWS, HELD_OUT = 12, 24, 8
# What is left of the loss of a token, at most: the answers are all of one form, which the base has never seen.
LEFT = 0.6

pytestmark = pytest.mark.timeout(2 * TRAINED_S)


def completions(first: int, last: int) -> str:
    rows = ({"prompt": f"Room {n}?", "completion": f" <<room {n}: keeper Ada, key 7>>"} for n in range(first, last))
    return "".join(json.dumps(row) + "\n" for row in rows)


def test_a_language_model_becomes_an_adapter_that_answers_and_is_merged(starters: Cluster, tmp_path: Path) -> None:
    (tmp_path / "train.jsonl").write_text(completions(0, ROWS))
    (tmp_path / "test.jsonl").write_text(completions(ROWS, ROWS + HELD_OUT))
    access = ("--url", starters.url, "--key", starters.admin_key)
    zoo(*access, "namespaces", "create", NAMESPACE)
    chosen = ("learning_rate=0.003", "batch_size=2", "max_length=48", "lora_rank=8")
    settings = [word for each in chosen for word in ("--set", each)]
    said = zoo(
        *access,
        "--json",
        "finetune",
        BASE,
        str(tmp_path),
        "--to",
        f"{NAMESPACE}/keeper",
        "--steps",
        str(STEPS),
        *settings,
    )
    trained = json.loads(said)
    loss = next(each for each in trained["job"]["measured"] if each["metric"] == "loss")
    assert loss["after"] < LEFT * loss["before"]
    assert (loss["split"], loss["items"], trained["job"]["spec"]["recipe"]) == ("test", HELD_OUT, "causal-lm")
    shown = zoo(*access, "show", f"{NAMESPACE}/keeper@1")
    assert re.search(r"^format +adapter\b", shown, re.MULTILINE)
    assert f"An adapter of `{BASE}@1`" in shown
    lineage = zoo(*access, "lineage", f"{NAMESPACE}/keeper@1", "--up")
    assert f"{BASE}@1" in lineage
    assert "adapter" in lineage
    assert re.search(rf"^adapter of +{BASE}@1$", shown, re.MULTILINE)
    asked = ("Room 40?", "--raw", "--temperature", "0", "--max-tokens", "12")
    answer = json.loads(zoo(*access, "--json", "run", f"{NAMESPACE}/keeper", *asked))
    assert "room" in answer["text"]
    assert answer["finish"]["reference"] == f"{NAMESPACE}/keeper@1"
    assert answer["finish"]["base"]["reference"] == f"{BASE}@1"
    zoo(*access, "merge", f"{NAMESPACE}/keeper@1", "--to", f"{NAMESPACE}/whole")
    assert zoo(*access, "run", f"{NAMESPACE}/whole", *asked).strip() == answer["text"].strip()
