"""Every recipe, killed within a step and resumed, comes to the weights and figures of one that was not, to the bit.

A recipe has a row in CASES, or several where its settings lead through other code.
"""

import dataclasses
import random
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch

from support.shapes import shape_scenes, tiny_dfine
from support.tiny_models import tiny_llama, tiny_sentence_encoder
from support.tiny_pictures import shades, tiny_network
from support.tiny_speech import tiny_ctc, tiny_hearing, tiny_whisper, write_spoken
from support.training import FolderPushes, Killed, attempt, lease, topics, write_rows
from zoo.training.v1 import event_pb2
from zoo_trainer.recipes import Recipe, Start, find_recipe

STEPS, CHECKPOINT_STEPS = 6, 2
TEXT = {"batch_size": 8, "learning_rate": 0.003}
SPEECH = {"batch_size": 4, "learning_rate": 0.003}


@dataclasses.dataclass(frozen=True)
class Case:
    """`base` leaves a model in a new folder, `data` a dataset of a train and a test split; a row takes 3 s at most."""

    recipe: str
    base: Callable[[Path], Path]
    data: Callable[[Path], Path]
    settings: Mapping[str, Any]

    def __str__(self) -> str:
        return "-".join([self.recipe, *(str(value) for value in self.settings.values() if isinstance(value, str))])


def labelled_texts(folder: Path) -> Path:
    return write_rows(folder, train=topics(48), test=topics(60)[48:])


def completions(folder: Path) -> Path:
    rows = [{"prompt": f"what is {n}? ", "completion": f"it is {n}"} for n in range(30)]
    return write_rows(folder, train=rows[:24], test=rows[24:])


def shapes(folder: Path) -> Path:
    return shape_scenes(folder, train=16, test=4)


def tiny_resnet(folder: Path) -> Path:
    """Its batch norms' averages are learned beside its weights."""
    return tiny_network("resnet", folder)


def tiny_lite(folder: Path) -> Path:
    """It leaves out blocks at random, from torch's own generator."""
    return tiny_network("efficientnet-lite", folder)


def few_shades(folder: Path) -> Path:
    return shades(folder, 20, 4)


def tagged_words(folder: Path) -> Path:
    rows = [
        {"tokens": ["go", "to", row["text"].split()[1], "now"], "tags": ["O", "O", f"B-{row['label']}", "O"]}
        for row in topics(60)
    ]
    return write_rows(folder, train=rows[:48], test=rows[48:])


def pairs(folder: Path) -> Path:
    rows = [{"anchor": f"ask {row['text']}", "positive": f"say {row['text']}"} for row in topics(60)]
    return write_rows(folder, train=rows[:48], test=rows[48:])


def scored_pairs(folder: Path) -> Path:
    rows = [{"sentence1": f"one {n}", "sentence2": f"two {n * n}", "score": n % 6} for n in range(60)]
    return write_rows(folder, train=rows[:48], test=rows[48:])


CASES = (
    Case("text-classification", tiny_sentence_encoder, labelled_texts, {**TEXT, "similar_lengths": True}),
    Case("causal-lm", tiny_llama, completions, {"batch_size": 4, "learning_rate": 0.01, "lora_dropout": 0.1}),
    Case("causal-lm", tiny_llama, completions, {"batch_size": 4, "learning_rate": 0.001, "method": "full"}),
    Case("image-classification", tiny_resnet, few_shades, {"batch_size": 6, "augmentation": "strong", "flips": "on"}),
    Case("image-classification", tiny_lite, few_shades, {"batch_size": 6, "frozen_layers": 1, "class_weights": True}),
    Case("object-detection", tiny_dfine, shapes, {"batch_size": 4, "learning_rate": 0.003, "flip": True}),
    Case("speech-recognition", tiny_whisper, write_spoken, {**SPEECH, "mask_time": 0.2, "mask_bands": 0.2}),
    Case("speech-recognition", tiny_ctc, write_spoken, {**SPEECH, "freeze": "none"}),
    Case("speech-recognition", tiny_hearing, write_spoken, SPEECH),
    Case("token-classification", tiny_sentence_encoder, tagged_words, {"batch_size": 8, "learning_rate": 0.003}),
    Case("sentence-embeddings", tiny_sentence_encoder, pairs, {"batch_size": 8, "learning_rate": 0.001}),
    Case("sentence-similarity", tiny_sentence_encoder, scored_pairs, {"batch_size": 8, "learning_rate": 0.001}),
)


class Mortal:
    """The learner of a recipe that dies while it computes the loss of a step."""

    def __init__(self, inner: Any, step: int) -> None:
        self._inner = inner
        self._left = step

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    def loss(self, model: Any, batch: Any) -> Any:
        self._left -= 1
        if not self._left:
            raise Killed
        return self._inner.loss(model, batch)


def dying(name: str, step: int) -> Recipe:
    recipe = find_recipe(name)

    def start(started: Start[Any]) -> Any:
        return Mortal(recipe.start(started), step)

    return dataclasses.replace(recipe, start=start)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_a_recipe_that_was_killed_and_resumed_comes_to_the_same_bits(case: Case, tmp_path: Path) -> None:
    torch.set_num_threads(1)
    base, data = case.base(tmp_path / "base"), case.data(tmp_path / "data")
    leased = lease(case.recipe, {**case.settings, "checkpoint_steps": CHECKPOINT_STEPS}, steps=STEPS)
    undisturbed = attempt(tmp_path, base, data, leased)

    killed_in = random.Random(str(case)).randrange(CHECKPOINT_STEPS + 1, STEPS + 1)
    pushes, events = FolderPushes(tmp_path / "pushed", base), list[event_pb2.Event]()
    with pytest.raises(Killed):
        attempt(tmp_path, base, data, leased, pushes=pushes, events=events, recipe=dying(case.recipe, killed_in))
    kept = [event.checkpoint for event in events if event.HasField("checkpoint")][-1]
    resumed = attempt(tmp_path, base, data, leased, pushes=pushes, checkpoint=pushes.path(kept.manifest_digest))

    assert f"from the checkpoint of step {kept.step}" in resumed.logs
    assert 0 < killed_in - kept.step <= CHECKPOINT_STEPS
    assert resumed.weights() == undisturbed.weights()
    assert resumed.release.result.measured == undisturbed.release.result.measured
