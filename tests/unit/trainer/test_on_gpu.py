"""Trainings on a GPU: the same promises as on processors."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from support.training import Attempt, FolderPushes, Killed, attempt, lease, topics, write_rows
from zoo.training.v1 import event_pb2

STEPS = 12


def classify(folder: Path, encoder: Path, data: Path, precision: str = "float32", **more: object) -> Attempt:
    settings = {"checkpoint_steps": 3, "batch_size": 8, "precision": precision}
    return attempt(folder, encoder, data, lease("text-classification", settings, steps=STEPS), **more)  # type: ignore[arg-type]


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_a_killed_training_goes_on_to_the_same_weights(
    precision: str, encoder: Path, topic_data: Path, tmp_path: Path
) -> None:
    """But for what attention's backward pass adds up in an order of its own each time."""
    whole = classify(tmp_path / "whole", encoder, topic_data, precision)
    events: list[event_pb2.Event] = []
    pushes = FolderPushes(tmp_path / "pushed", encoder)
    with pytest.raises(Killed):
        classify(tmp_path / "killed", encoder, topic_data, precision, pushes=pushes, events=events, kill_at=14)
    kept = [event.checkpoint for event in events if event.HasField("checkpoint")][-1]
    resumed = classify(
        tmp_path / "resumed", encoder, topic_data, precision, checkpoint=pushes.path(kept.manifest_digest)
    )
    assert 0 < kept.step < STEPS
    assert f"from the checkpoint of step {kept.step}" in resumed.logs
    base, of_whole, of_resumed = (
        load_file(path / "model.safetensors") for path in (encoder, whole.result, resumed.result)
    )
    trained = {name: tensor for name, tensor in of_whole.items() if name.removeprefix("bert.") in base}
    moved = sum(float((of_whole[name] - base[name.removeprefix("bert.")]).norm()) for name in trained)
    apart = sum(float((of_whole[name] - of_resumed[name]).norm()) for name in trained)
    assert trained
    assert apart < 0.02 * moved


def test_what_the_gpu_cost_is_told(encoder: Path, topic_data: Path, tmp_path: Path) -> None:
    done = classify(tmp_path, encoder, topic_data)
    used = done.release.result.used
    model_bytes = sum(file.stat().st_size for file in done.result.glob("*.safetensors"))
    assert used["gpu_seconds"] >= used["wall_seconds"] > 0
    assert used["gpu_memory_bytes"] > 4 * model_bytes  # weights, gradients and AdamW's two moments
    assert json.loads((done.result / "training.json").read_text())["used"] == dict(used)
    assert "; of GPUs, " in (done.result / "README.md").read_text()


def test_where_the_gpus_memory_ends_half_as_many_are_computed_at_once(encoder: Path, tmp_path: Path) -> None:
    rows = [{**row, "text": " ".join([row["text"]] * 40)} for row in topics(1024)]
    data = write_rows(tmp_path / "data", train=rows, test=topics(24))
    total = torch.cuda.get_device_properties(0).total_memory
    torch.cuda.empty_cache()
    torch.cuda.set_per_process_memory_fraction(200e6 / total)
    try:
        done = attempt(tmp_path, encoder, data, lease("text-classification", {"batch_size": 1024}, steps=2))
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
    assert "Memory ended with 1024 examples at once: from now on 512 at once, 2 times for each step." in done.logs
    assert done.result.exists()
