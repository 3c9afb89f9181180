"""Language models: what is learned of a row, adapters, packing."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import PeftModel

from modelzoo.loading import load_directory, load_processor_directory
from support.training import Attempt, attempt, lease, write_rows
from zoo.training.v1 import trainer_service_pb2 as pb
from zoo_trainer.recipes import Start, find_recipe
from zoo_trainer.rows import Rows, store_rows

CHAT = [
    {"messages": [{"role": "user", "content": f"say {n}"}, {"role": "assistant", "content": f"it is {n}"}]}
    for n in range(24)
]


def write(folder: Path, base: Path, rows: list[dict[str, Any]], settings: dict[str, Any], **budget: Any) -> Attempt:
    data = write_rows(folder / "data", train=rows[:20], test=rows[20:])
    return attempt(folder, base, data, lease("causal-lm", {"learning_rate": 0.01, **settings}, **budget))


def learner(base: Path, tmp_path: Path, rows: list[dict[str, Any]], **settings: Any) -> Any:
    stored: Rows = store_rows(rows, tmp_path / "rows.jsonl", tmp_path)
    recipe = find_recipe("causal-lm")
    read = recipe.read_settings({"method": "full", **settings})
    return recipe.start(Start(base, "zoo/base@1", stored, stored, read, 1))


def learned(base: Path, made: Any, number: int = 0) -> tuple[str, str]:
    """All of an example, and what of it is learned."""
    tokenizer = load_processor_directory(base)
    batch = made.collate([made.encode(made.rows[number], torch.Generator())])
    labels = [each for each in batch["labels"][0].tolist() if each != -100]
    return tokenizer.decode(batch["input_ids"][0]), tokenizer.decode(labels)


def test_an_adapter_stays_an_adapter_and_names_its_base(llama: Path, tmp_path: Path) -> None:
    done = write(tmp_path, llama, CHAT, {}, steps=15)
    loss = done.measured("loss")
    assert loss.after < loss.before / 2
    assert not loss.HasField("majority")
    assert done.release.result.adapter
    config = json.loads((done.result / "adapter_config.json").read_text())
    assert (config["peft_type"], config["base_model_name_or_path"]) == ("LORA", "zoo/base@1")
    assert not (done.result / "model.safetensors").exists()
    base = load_directory(llama)
    adapted: Any = PeftModel.from_pretrained(base, done.result)
    tokens = torch.tensor([[10, 20, 30]])
    assert not torch.allclose(adapted(tokens).logits, load_directory(llama)(tokens).logits)
    (format, pushed), *_ = done.pushes.pushed
    assert format == "adapter"
    assert pushed.sent_bytes < (llama / "model.safetensors").stat().st_size


def test_of_chats_and_completions_only_answers_are_learned(llama: Path, tmp_path: Path) -> None:
    whole, answer = learned(llama, learner(llama, tmp_path, CHAT))
    assert whole == "<|start|>user\nsay 0<|end|>\n<|start|>assistant\nit is 0<|end|>\n"
    assert answer == "it is 0<|end|>\n"
    rows = [{"prompt": "one and ", "completion": "two"}]
    assert learned(llama, learner(llama, tmp_path, rows)) == ("one and two<|end|>", "two<|end|>")
    both = learner(llama, tmp_path, rows, learn_prompts=True)
    assert learned(llama, both) == ("one and two<|end|>", "one and two<|end|>")
    assert learned(llama, learner(llama, tmp_path, [{"text": "plain"}]))[1] == "plain<|end|>"


def test_packing_pads_nothing_and_loses_nothing(llama: Path, tmp_path: Path) -> None:
    rows = [{"text": "abcdefghij"[: n % 10 + 1]} for n in range(30)]
    packed = learner(llama, tmp_path, rows, packing=True, max_length=32)
    pieces = [packed.encode(piece, torch.Generator()) for piece in packed.rows]
    assert {len(piece.tokens) for piece in pieces[:-1]} == {32}
    tokenizer = load_processor_directory(llama)
    text = tokenizer.decode([token for piece in pieces for token in piece.tokens])
    assert text == "".join(row["text"] + "<|end|>" for row in rows)


def test_full_training_resumes_exactly_in_the_bases_own_numbers(llama: Path, tmp_path: Path) -> None:
    settings = {"method": "full", "learning_rate": 0.001, "checkpoint_steps": 3, "packing": True, "max_length": 64}
    done = write(tmp_path, llama, CHAT, settings, steps=8)
    data = tmp_path / "data"
    again = attempt(tmp_path, llama, data, lease("causal-lm", settings, steps=8), checkpoint=done.checkpoint)
    assert again.weights() == done.weights()
    assert load_directory(done.result).dtype == torch.float32


def test_a_half_precision_base_is_trained_in_full_and_published_in_half(tmp_path: Path) -> None:
    from support.tiny_models import tiny_llama

    base = tiny_llama(tmp_path / "half", dtype=torch.bfloat16)
    done = write(tmp_path, base, CHAT, {"method": "full", "learning_rate": 0.001}, steps=8)
    assert load_directory(done.result).dtype == torch.bfloat16
    assert done.measured("loss").after < done.measured("loss").before


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        ([{"messages": [{"role": "user", "content": "alone"}]}] * 3, "no message of an assistant"),
        ([{"messages": "hello"}] * 3, "no message of an assistant"),
        ([{"messages": [{"role": "assistant"}]}] * 3, "role and content"),
    ],
)
def test_conversations_without_an_answer_are_refused(
    llama: Path, tmp_path: Path, rows: list[dict[str, Any]], words: str
) -> None:
    data = write_rows(tmp_path / "data", train=rows, test=rows)
    ended = attempt(tmp_path, llama, data, lease("causal-lm", {}, steps=1)).release
    assert (ended.outcome, ended.reason) == (pb.OUTCOME_HOPELESS, "DATASET_UNSUITABLE")
    assert words in ended.message
