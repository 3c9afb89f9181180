"""The converted starters at work through the gateway, on photographs and a recorded voice."""

import re
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

from modelzoo.loading import load_directory, load_processor_directory
from support.cluster import Cluster, zoo
from zoo_starters.command import WORK
from zoo_starters.samples import copy_samples

pytestmark = pytest.mark.timeout(300)

PICTURES, SPEECH = "zoo/efficientnet-lite0", "zoo/whisper-tiny.en"
PHOTOGRAPHS = ("china.jpg", "flower.jpg")


@pytest.fixture(scope="module")
def samples(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("samples")
    copy_samples(WORK / "packages", folder)
    return folder


def test_photographs_get_the_networks_own_top_5(starters: Cluster, samples: Path, tmp_path: Path) -> None:
    with starters.client() as client:
        client.pull(PICTURES, tmp_path / "model")
        found = {name: client.classify_image(PICTURES, samples / name).labels for name in PHOTOGRAPHS}
    model: Any = load_directory(tmp_path / "model")
    processor = load_processor_directory(tmp_path / "model")
    for name, labels in found.items():
        pixels = processor(images=Image.open(samples / name), return_tensors="pt")["pixel_values"]
        with torch.inference_mode():
            expected = model(pixel_values=pixels).logits[0].softmax(0).topk(5)
        assert [label.label for label in labels] == [
            model.config.id2label[index] for index in expected.indices.tolist()
        ]
        assert [label.score for label in labels] == pytest.approx(expected.values.tolist(), abs=1e-4)


def test_a_voice_is_written_down_with_its_times(starters: Cluster, samples: Path) -> None:
    with starters.client() as client:
        heard = client.transcribe(SPEECH, samples / "Front_Center.wav")
    assert re.findall(r"\w+", heard.text.lower()) == ["front", "center"]
    assert [re.findall(r"\w+", segment.text.lower()) for segment in heard.segments] == [["front", "center"]]
    assert 0.0 <= heard.segments[0].start_s < heard.segments[0].end_s <= 1.43


def test_the_command_answers_for_pictures_and_sound(starters: Cluster, samples: Path) -> None:
    access = ("--url", starters.url, "--key", starters.admin_key)
    pictures = zoo(*access, "run", PICTURES, str(samples / "china.jpg"), str(samples / "flower.jpg"))
    assert "palace" in pictures
    assert "daisy" in pictures
    assert "front, center" in zoo(*access, "run", SPEECH, str(samples / "Front_Center.wav")).lower()
