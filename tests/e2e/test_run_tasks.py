"""Every task that answers at once, by the command, by the client and on this machine, through the whole cluster."""

import json
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy
import pytest
from PIL import Image

import modelzoo
from modelzoo.client import Client
from modelzoo.wav import encode_wav
from support.cluster import ZOO, Cluster
from support.tiny_task_models import (
    tiny_image_classifier,
    tiny_object_detector,
    tiny_text_classifier,
    tiny_transcriber,
)

NAMESPACE = "tasks"
MODELS: dict[str, Callable[[Path], Path]] = {
    "pictures": tiny_image_classifier,
    "scenes": tiny_object_detector,
    "texts": tiny_text_classifier,
    "speech": tiny_transcriber,
}


@pytest.fixture(scope="module")
def zoo(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    """A client of the cluster, with MODELS published in NAMESPACE."""
    root = tmp_path_factory.mktemp("models")
    with pytest.MonkeyPatch.context() as patch, cluster.client() as zoo:
        patch.setenv("ZOO_CACHE", str(root / "cache"))
        zoo.create_namespace(NAMESPACE)
        for name, make in MODELS.items():
            zoo.push(make(root / name), f"{NAMESPACE}/{name}")
        yield zoo


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Some pictures and a sound."""
    random = numpy.random.default_rng(0)
    for number in range(3):
        Image.fromarray(random.integers(0, 256, (60, 80, 3), dtype=numpy.uint8)).save(tmp_path / f"{number}.png")
    (tmp_path / "noise.wav").write_bytes(encode_wav(random.normal(0, 0.1, 16_000).astype("float32"), 16_000))
    return tmp_path


def run(cluster: Cluster, folder: Path, name: str, *words: str) -> list[dict[str, Any]]:
    """The results that `zoo run --json` answers."""
    argv = [ZOO, "run", f"{NAMESPACE}/{name}", *words, "--json"]
    done = subprocess.run(
        argv, env=cluster.environment(), cwd=folder, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    answered = json.loads(done.stdout)
    assert answered["reference"] == f"{NAMESPACE}/{name}@1"
    return answered["results"]


def scores(labels: Any) -> dict[str, float]:
    """Scores by label, of an answer or of its JSON."""
    plain = [label if isinstance(label, dict) else {"label": label.label, "score": label.score} for label in labels]
    return {label["label"]: pytest.approx(label["score"], abs=1e-4) for label in plain}


def test_pictures_have_the_same_labels_by_every_way(cluster: Cluster, zoo: Client, folder: Path):
    paths = [folder / f"{number}.png" for number in range(3)]
    results = run(cluster, folder, "pictures", "0.png", "1.png", "2.png", "--top-k", "7")
    there = zoo.map(zoo.classify_image, f"{NAMESPACE}/pictures", paths, top_k=7)
    here = modelzoo.pipeline(f"{NAMESPACE}/pictures", client=zoo)(paths, top_k=7)
    for result, by_client, by_pipeline in zip(results, there, here, strict=True):
        assert scores(result["labels"]) == scores(by_client.labels) == scores(by_pipeline)


def test_file_that_is_no_picture_is_named_beside_the_others_labels(cluster: Cluster, zoo: Client, folder: Path):
    (folder / "fake.jpg").write_text("<html>not found</html>")
    argv = [ZOO, "run", f"{NAMESPACE}/pictures", "0.png", "fake.jpg", "1.png", "--json"]
    done = subprocess.run(
        argv, env=cluster.environment(), cwd=folder, capture_output=True, text=True, timeout=120, check=False
    )
    first, fake, second = json.loads(done.stdout)["results"]
    assert (done.returncode, fake["error"]["reason"]) == (6, "IMAGE_INVALID")
    assert fake["error"]["message"].startswith("fake.jpg: ")
    assert first["labels"]
    assert second["labels"]


def test_objects_are_found_and_drawn(cluster: Cluster, zoo: Client, folder: Path):
    [result] = run(cluster, folder, "scenes", "0.png", "--threshold", "0", "--out", "boxes.png")
    here = modelzoo.pipeline(f"{NAMESPACE}/scenes", client=zoo)(folder / "0.png", threshold=0.0)
    assert [each["label"]["label"] for each in result["detections"]] == [each.label.label for each in here.detections]
    assert result["detections"][0]["box"]["x_max"] == pytest.approx(here.detections[0].box.x_max, abs=0.01)
    with Image.open(folder / "boxes.png") as drawn:
        assert drawn.size == (480, 360)


def test_texts_have_the_same_labels_by_every_way(cluster: Cluster, zoo: Client, folder: Path):
    results = run(cluster, folder, "texts", "a cat", "another")
    there = zoo.classify_text(f"{NAMESPACE}/texts", ["a cat", "another"])
    here = modelzoo.pipeline(f"{NAMESPACE}/texts", client=zoo)(["a cat", "another"])
    for result, by_client, by_pipeline in zip(results, there, here, strict=True):
        assert scores(result["labels"]) == scores(by_client.labels) == scores(by_pipeline)


def test_sound_is_written_down_the_same_by_every_way(cluster: Cluster, zoo: Client, folder: Path):
    [result] = run(cluster, folder, "speech", "noise.wav")
    there = zoo.transcribe(f"{NAMESPACE}/speech", folder / "noise.wav")
    here = modelzoo.pipeline(f"{NAMESPACE}/speech", client=zoo)(folder / "noise.wav")
    assert result["text"] == there.text == here.text
    assert (result["duration_s"], bool(there.text)) == (1.0, True)


def test_what_the_worker_refuses_reaches_the_caller(zoo: Client):
    with pytest.raises(modelzoo.ZooError) as caught:
        zoo.classify_image(f"{NAMESPACE}/pictures", b"<html>not found</html>")
    assert caught.value.reason == "IMAGE_INVALID"
    with pytest.raises(modelzoo.ZooError) as caught:
        zoo.transcribe(f"{NAMESPACE}/texts", b"RIFF")
    assert caught.value.reason == "TASK_MISMATCH"
