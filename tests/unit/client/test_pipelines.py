"""modelzoo.pipeline computes here what a worker computes there, for any kind of input."""

import dataclasses
import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy
import pytest
import soundfile
from PIL import Image

import modelzoo
from modelzoo import wire
from modelzoo.client import Client
from modelzoo.errors import InvalidArgument, NotFound, ZooError
from modelzoo.pipelines import Pipeline
from support.inference_worker import LocalModels, WorkerRig, inference_worker
from support.tiny_models import reciting_gpt2, tiny_llama, tiny_sentence_encoder
from support.tiny_task_models import (
    TEXT_CONTEXT,
    tiny_image_classifier,
    tiny_object_detector,
    tiny_text_classifier,
    tiny_transcriber,
)
from zoo.inference.v1 import inference_service_pb2 as pb

RATE_HZ = 16_000
MAKERS: dict[str, Callable[[Path], Path]] = {
    "pictures": tiny_image_classifier,
    "scenes": tiny_object_detector,
    "texts": tiny_text_classifier,
    "speech": tiny_transcriber,
    "sentences": tiny_sentence_encoder,
    "chat": tiny_llama,
}


@pytest.fixture(scope="module")
def pipes(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Pipeline]:
    """A pipeline for each task over a directory of its name."""
    root = tmp_path_factory.mktemp("models")
    return {name: modelzoo.pipeline(make(root / name)) for name, make in MAKERS.items()}


def picture(seed: int = 0) -> Image.Image:
    return Image.fromarray(numpy.random.default_rng(seed).integers(0, 256, (60, 80, 3), dtype=numpy.uint8))


def png(image: Image.Image) -> bytes:
    file = io.BytesIO()
    image.save(file, "PNG")
    return file.getvalue()


def noise(seconds: float, seed: int = 0) -> numpy.ndarray:
    return numpy.random.default_rng(seed).normal(0, 0.1, int(seconds * RATE_HZ)).astype(numpy.float32)


def wav(samples: numpy.ndarray) -> bytes:
    file = io.BytesIO()
    soundfile.write(file, samples, RATE_HZ, format="WAV", subtype="FLOAT")
    return file.getvalue()


def close(found: Any) -> Any:
    """Equal to the same values and to almost the same numbers, however deep."""
    if dataclasses.is_dataclass(found):
        return [close(getattr(found, field.name)) for field in dataclasses.fields(found)]
    if isinstance(found, tuple | list):
        return [close(each) for each in found]
    return round(found, 4) if isinstance(found, float) else found


async def asked(pipes: dict[str, Pipeline], name: str, method: str, request: Any) -> Any:
    """What a worker answers that has loaded the same directory."""
    models = LocalModels({f"acme/{name}": Path(pipes[name].reference)})
    request.model = f"acme/{name}"
    async with inference_worker(models) as rig:
        assert isinstance(rig, WorkerRig)
        return await rig.calls().ask(method, request)


async def test_pictures_are_labelled_as_by_a_worker(pipes: dict[str, Pipeline]):
    request = pb.ClassifyImageRequest(image=png(picture()), top_k=3)
    there = wire.classification(await asked(pipes, "pictures", "ClassifyImage", request)).labels
    assert close(pipes["pictures"](picture(), top_k=3)) == close(there)
    assert pipes["pictures"].task == "image-classification"


async def test_objects_are_found_as_by_a_worker(pipes: dict[str, Pipeline]):
    request = pb.DetectObjectsRequest(image=png(picture()), threshold=0.0, max_detections=3)
    there = wire.detections(await asked(pipes, "scenes", "DetectObjects", request))
    here = pipes["scenes"](picture(), threshold=0.0, max_detections=3)
    assert close(here.detections) == close(there.detections)
    assert (len(here.detections), here.width, here.height) == (3, 80, 60)
    assert pipes["scenes"](picture(), threshold=1.0).detections == ()


async def test_speech_is_written_down_as_by_a_worker(pipes: dict[str, Pipeline]):
    long = noise(40)  # two windows
    there = wire.transcription(await asked(pipes, "speech", "Transcribe", pb.TranscribeRequest(audio=wav(long))))
    here = pipes["speech"](long, rate_hz=RATE_HZ)
    assert (here.text, close(here.segments)) == (there.text, close(there.segments))
    assert here.text


async def test_texts_are_labelled_as_by_a_worker(pipes: dict[str, Pipeline]):
    request = pb.ClassifyTextRequest(texts=["a cat", "another one"], top_k=7)
    there = wire.classifications(await asked(pipes, "texts", "ClassifyText", request))
    here = pipes["texts"](["a cat", "another one"], top_k=7)
    assert close(here) == close([each.labels for each in there])


async def test_chats_are_continued_as_by_a_worker(pipes: dict[str, Pipeline]):
    request = pb.GenerateRequest()
    request.input.prompt, request.input.max_tokens = "Hello there", 12
    there = (await asked(pipes, "chat", "Generate", request)).text
    assert pipes["chat"]("Hello there", max_tokens=12) == there


def test_texts_are_embedded(pipes: dict[str, Pipeline]):
    one, both = pipes["sentences"]("a dog"), pipes["sentences"](["a dog", "a longer sentence"])
    assert (one.shape, both.shape, one.dtype) == ((32,), (2, 32), numpy.float32)
    numpy.testing.assert_allclose(both[0], one, atol=1e-5)


def test_text_is_continued_without_a_template(tmp_path: Path):
    pipe = modelzoo.pipeline(str(reciting_gpt2(tmp_path / "gpt2", "Paris.", after=3)))
    assert pipe("abc") == "Paris."
    assert pipe("abc", max_tokens=3) == "Par"


@pytest.mark.parametrize(
    "given", [str, Path, Path.read_bytes, Image.open, lambda path: numpy.asarray(Image.open(path))]
)
def test_any_kind_of_picture_gives_the_same(pipes: dict[str, Pipeline], tmp_path: Path, given: Callable[[Path], Any]):
    path = tmp_path / "picture.png"
    picture().save(path)
    assert pipes["pictures"](given(path)) == pipes["pictures"](picture())


def test_sound_files_and_samples_give_the_same(pipes: dict[str, Pipeline], tmp_path: Path):
    (tmp_path / "noise.wav").write_bytes(wav(noise(1)))
    assert pipes["speech"](tmp_path / "noise.wav") == pipes["speech"](noise(1), rate_hz=RATE_HZ)


def test_list_is_answered_in_its_order_over_several_batches(pipes: dict[str, Pipeline]):
    colours = ["red", "green", "green"] * 6 + ["red"]
    found = pipes["pictures"]([Image.new("RGB", (64, 64), colour) for colour in colours])
    assert [labels[0].label for labels in found] == [{"red": "cat", "green": "bird"}[colour] for colour in colours]
    sounds = [noise(1), numpy.zeros(RATE_HZ, "float32"), noise(40), noise(2)]
    parts = pipes["speech"](sounds, rate_hz=RATE_HZ)
    assert [bool(each.text) for each in parts] == [True, False, True, True]
    assert max(segment.end_s for segment in parts[2].segments) > 30
    assert pipes["pictures"]([]) == []


@pytest.mark.parametrize(
    ("name", "given", "options", "reason"),
    [
        ("pictures", "nowhere.png", {}, "LOCAL_PATH_INVALID"),
        ("pictures", b"<html>", {}, "IMAGE_INVALID"),
        ("pictures", picture(), {"top_k": 0}, "FIELD_INVALID"),
        ("speech", b"\x89PNG\r\n\x1a\n", {}, "AUDIO_INVALID"),
        ("speech", noise(1), {"rate_hz": RATE_HZ, "language": "xx"}, "FIELD_INVALID"),
        ("texts", "a" * TEXT_CONTEXT, {}, "CONTEXT_EXCEEDED"),
        ("texts", " ", {}, "INPUT_EMPTY"),
        ("texts", picture(), {}, "FIELD_INVALID"),
        ("chat", "hi", {"max_tokens": 5000}, "CONTEXT_EXCEEDED"),
    ],
)
def test_bad_input_has_the_reason_that_a_worker_gives(
    pipes: dict[str, Pipeline], name: str, given: Any, options: dict[str, Any], reason: str
):
    with pytest.raises(ZooError) as caught:
        pipes[name](given, **options)
    assert caught.value.reason == reason


def test_option_of_another_task_is_no_argument(pipes: dict[str, Pipeline]):
    with pytest.raises(TypeError, match="threshold is no option of text-classification, which takes top_k"):
        pipes["texts"]("a cat", threshold=0.5)


def test_error_of_one_of_many_says_which(pipes: dict[str, Pipeline], tmp_path: Path):
    (tmp_path / "fake.jpg").write_bytes(b"<html>")
    with pytest.raises(ZooError) as caught:
        pipes["pictures"]([*[picture()] * 9, tmp_path / "fake.jpg", picture()])
    assert caught.value.__notes__ == [f"Input 9 ({str(tmp_path / 'fake.jpg')!r})."]


def test_reference_is_pulled_and_named_by_its_version(client: Client, tmp_path: Path):
    client.push(tiny_text_classifier(tmp_path / "bert"), "team/bert")
    pipe = modelzoo.pipeline("team/bert", client=client)
    assert pipe.reference == "team/bert@1"
    assert len(pipe("a cat")) == 5
    with pytest.raises(NotFound):
        modelzoo.pipeline("team/other", client=client)


@pytest.mark.parametrize(
    ("ref", "reason"), [(Path("nowhere"), "LOCAL_PATH_INVALID"), ("./nowhere", "REFERENCE_INVALID")]
)
def test_what_is_neither_directory_nor_reference_is_refused(ref: Any, reason: str):
    with pytest.raises(InvalidArgument) as caught:
        modelzoo.pipeline(ref)
    assert caught.value.reason == reason


def test_name_means_the_function_also_when_used_twice():
    assert modelzoo.pipeline is modelzoo.pipeline
    assert callable(modelzoo.pipeline)
