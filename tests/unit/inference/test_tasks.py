"""Pictures, sound and texts to classify, over real gRPC with tiny models: what transformers itself computes of them."""

import asyncio
import io
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import numpy
import pytest
import soundfile
import torch
from google.api.httpbody_pb2 import HttpBody
from PIL import Image
from transformers import (
    AutoImageProcessor,
    AutoModelForImageClassification,
    AutoModelForObjectDetection,
    AutoModelForSequenceClassification,
    AutoTokenizer,
)

from modelzoo.errors import FailedPrecondition, InvalidArgument
from support.inference_worker import LocalModels, WorkerRig, inference_worker
from support.tiny_task_models import (
    LABELS,
    TEXT_CONTEXT,
    tiny_image_classifier,
    tiny_object_detector,
    tiny_text_classifier,
    tiny_transcriber,
)
from zoo.inference.v1 import inference_service_pb2 as pb

PICTURES, SCENES, TEXTS, SPEECH = "acme/pictures", "acme/scenes", "acme/texts", "acme/speech"


@pytest.fixture(scope="module")
def directories(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("models")
    return {
        PICTURES: tiny_image_classifier(root / "pictures"),
        SCENES: tiny_object_detector(root / "scenes"),
        TEXTS: tiny_text_classifier(root / "texts"),
        SPEECH: tiny_transcriber(root / "speech"),
    }


@pytest.fixture
async def rig(directories: dict[str, Path]) -> AsyncIterator[WorkerRig]:
    async with inference_worker(LocalModels(directories)) as rig:
        yield rig


def picture(seed: int = 0, size: tuple[int, int] = (80, 60)) -> Image.Image:
    pixels = numpy.random.default_rng(seed).integers(0, 255, (size[1], size[0], 3), dtype=numpy.uint8)
    return Image.fromarray(pixels)


def png(image: Image.Image) -> bytes:
    file = io.BytesIO()
    image.save(file, "PNG")
    return file.getvalue()


def wav(seconds: float, *, level: float = 0.1) -> bytes:
    samples = numpy.random.default_rng(1).normal(0, level, int(seconds * 16_000)).astype(numpy.float32)
    file = io.BytesIO()
    soundfile.write(file, samples, 16_000, format="WAV")
    return file.getvalue()


async def classify(rig: WorkerRig, image: bytes, **more: Any) -> pb.ClassifyImageResponse:
    return await rig.calls().ask("ClassifyImage", pb.ClassifyImageRequest(model=PICTURES, image=image, **more))


async def test_a_pictures_labels_are_those_that_transformers_computes(
    rig: WorkerRig, directories: dict[str, Path]
) -> None:
    response = await classify(rig, png(picture()), top_k=3)
    inputs = AutoImageProcessor.from_pretrained(directories[PICTURES])(picture(), return_tensors="pt")
    with torch.inference_mode():
        logits = AutoModelForImageClassification.from_pretrained(directories[PICTURES])(**inputs).logits[0]
    scores, indices = logits.softmax(-1).topk(3)
    found = response.classification.labels
    assert [label.index for label in found] == indices.tolist()
    assert [label.label for label in found] == [LABELS[index] for index in indices]
    assert [label.score for label in found] == pytest.approx(scores.tolist(), abs=1e-5)
    assert (response.computed.reference, response.computed.manifest_digest) == ("acme/pictures@1", f"{0:064x}")
    assert response.computed.compute.ToNanoseconds() > 0


async def test_pictures_of_many_callers_get_their_own_answers(rig: WorkerRig) -> None:
    alone = [(await classify(rig, png(picture(seed)))).classification for seed in range(6)]
    together = await asyncio.gather(*(classify(rig, png(picture(seed))) for seed in range(6)))
    for one, other in zip(alone, together, strict=True):
        assert [label.label for label in one.labels] == [label.label for label in other.classification.labels]
        assert [x.score for x in one.labels] == pytest.approx([x.score for x in other.classification.labels], abs=1e-5)


async def test_a_raw_body_is_a_picture_too(rig: WorkerRig) -> None:
    request = pb.ClassifyImageRequest(model=PICTURES, upload=HttpBody(content_type="image/png", data=png(picture())))
    raw = await rig.calls().ask("ClassifyImage", request)
    assert raw.classification == (await classify(rig, png(picture()))).classification


async def test_objects_are_those_that_transformers_finds(rig: WorkerRig, directories: dict[str, Path]) -> None:
    request = pb.DetectObjectsRequest(model=SCENES, image=png(picture(size=(90, 50))), threshold=0.0, max_detections=3)
    response = await rig.calls().ask("DetectObjects", request)
    processor = AutoImageProcessor.from_pretrained(directories[SCENES])
    inputs = processor(picture(size=(90, 50)), return_tensors="pt")
    with torch.inference_mode():
        outputs = AutoModelForObjectDetection.from_pretrained(directories[SCENES])(pixel_values=inputs["pixel_values"])
    (wanted,) = processor.post_process_object_detection(outputs, threshold=0.0, target_sizes=[(50, 90)])
    scores, order = wanted["scores"].sort(descending=True)
    assert (response.width, response.height) == (90, 50)
    assert [d.label.score for d in response.detections] == pytest.approx(scores[:3].tolist(), abs=1e-5)
    assert [d.label.label for d in response.detections] == [LABELS[wanted["labels"][index]] for index in order[:3]]
    x_min, y_min, x_max, y_max = wanted["boxes"][order[0]].clamp(min=0).tolist()
    box = response.detections[0].box
    assert (box.x_min, box.y_min, box.x_max, box.y_max) == pytest.approx((x_min, y_min, min(x_max, 90), min(y_max, 50)))


async def test_scenes_of_different_shapes_get_their_own_objects(rig: WorkerRig) -> None:
    requests = [
        pb.DetectObjectsRequest(model=SCENES, image=png(picture(seed, size)), threshold=0.0)
        for seed, size in enumerate([(90, 50), (50, 90), (64, 64), (90, 50)])
    ]
    alone = [await rig.calls().ask("DetectObjects", request) for request in requests]
    together = await asyncio.gather(*(rig.calls().ask("DetectObjects", request) for request in requests))
    for one, other in zip(alone, together, strict=True):
        assert (one.width, one.height) == (other.width, other.height)
        assert [d.box.x_max for d in one.detections] == pytest.approx([d.box.x_max for d in other.detections], abs=1e-3)


async def test_texts_labels_are_those_that_transformers_computes(rig: WorkerRig, directories: dict[str, Path]) -> None:
    texts = ["a cat", "something rather longer"]
    response = await rig.calls().ask("ClassifyText", pb.ClassifyTextRequest(model=TEXTS, texts=texts))
    tokenizer = AutoTokenizer.from_pretrained(directories[TEXTS])
    model = AutoModelForSequenceClassification.from_pretrained(directories[TEXTS])
    with torch.inference_mode():
        wanted = [model(**tokenizer(text, return_tensors="pt")).logits[0].softmax(-1) for text in texts]
    for classification, probabilities in zip(response.classifications, wanted, strict=True):
        assert len(classification.labels) == 5
        assert [x.score for x in classification.labels] == pytest.approx(probabilities.topk(5)[0].tolist(), abs=1e-5)
    assert response.usage.input_tokens == sum(len(tokenizer.encode(text)) for text in texts)


async def test_a_text_over_the_context_is_refused_with_both_numbers(rig: WorkerRig) -> None:
    request = pb.ClassifyTextRequest(model=TEXTS, texts=["short", "x" * 500])
    error = await rig.calls().refusal(rig.calls().ask("ClassifyText", request))
    assert (type(error), error.reason, error.field) == (InvalidArgument, "CONTEXT_EXCEEDED", "texts[1]")
    assert error.metadata["context"] == str(TEXT_CONTEXT)
    assert int(error.metadata["tokens"]) >= 500


async def test_a_sound_is_transcribed_window_by_window_with_times_in_the_whole(rig: WorkerRig) -> None:
    response = await rig.calls().ask("Transcribe", pb.TranscribeRequest(model=SPEECH, audio=wav(70)))
    assert response.duration.ToMilliseconds() == 70_000
    assert response.text
    starts = [segment.start.ToMilliseconds() for segment in response.segments]
    assert starts == sorted(starts)
    assert starts[-1] >= 40_000, "the last window begins after the first two"
    assert all(segment.end.ToMilliseconds() <= 70_000 for segment in response.segments)
    assert response.usage.output_tokens > 0


async def test_silence_says_nothing(rig: WorkerRig) -> None:
    response = await rig.calls().ask("Transcribe", pb.TranscribeRequest(model=SPEECH, audio=wav(3, level=0)))
    assert (response.text, len(response.segments), response.duration.ToMilliseconds()) == ("", 0, 3000)


async def test_a_language_that_the_model_does_not_know_is_refused(rig: WorkerRig) -> None:
    english = await rig.calls().ask("Transcribe", pb.TranscribeRequest(model=SPEECH, audio=wav(1), language="en"))
    assert english.duration.ToMilliseconds() == 1000
    request = pb.TranscribeRequest(model=SPEECH, audio=wav(1), language="de")
    error = await rig.calls().refusal(rig.calls().ask("Transcribe", request))
    assert (error.reason, error.field) == ("FIELD_INVALID", "language")


async def test_nothing_sent_is_refused_before_a_model_is_loaded(rig: WorkerRig) -> None:
    for method, request in (
        ("ClassifyImage", pb.ClassifyImageRequest(model=PICTURES)),
        ("DetectObjects", pb.DetectObjectsRequest(model=SCENES, upload=HttpBody())),
        ("Transcribe", pb.TranscribeRequest(model=SPEECH)),
        ("ClassifyImage", pb.ClassifyImageRequest(model=PICTURES, image=b"<svg/>")),
    ):
        error = await rig.calls().refusal(rig.calls().ask(method, request))
        assert error.reason in ("INPUT_EMPTY", "IMAGE_INVALID")
    assert rig.models.loads == []


@pytest.mark.parametrize("known", [True, False], ids=["the catalog knows the task", "only the files tell"])
async def test_a_picture_sent_to_a_model_of_texts_is_refused(directories: dict[str, Path], known: bool) -> None:
    architectures = {TEXTS: "BertForSequenceClassification"} if known else {}
    async with inference_worker(LocalModels(directories, architectures=architectures)) as rig:
        request = pb.ClassifyImageRequest(model=TEXTS, image=png(picture()))
        error = await rig.calls().refusal(rig.calls().ask("ClassifyImage", request))
        assert (type(error), error.reason) == (FailedPrecondition, "TASK_MISMATCH")
        assert (error.metadata["task"], "ClassifyText" in error.message) == ("text-classification", True)
        assert (rig.models.loads == []) is known


@pytest.mark.parametrize("known", [True, False], ids=["the catalog knows the task", "only the files tell"])
async def test_a_tagger_of_words_is_refused_as_what_no_worker_runs(tmp_path: Path, known: bool) -> None:
    tagger = tiny_text_classifier(tmp_path / "tagger")
    config = (tagger / "config.json").read_text()
    (tagger / "config.json").write_text(config.replace("ForSequenceClassification", "ForTokenClassification"))
    architectures = {TEXTS: "BertForTokenClassification"} if known else {}
    async with inference_worker(LocalModels({TEXTS: tagger}, architectures=architectures)) as rig:
        request = pb.ClassifyTextRequest(model=TEXTS, texts=["a cat"])
        error = await rig.calls().refusal(rig.calls().ask("ClassifyText", request))
        assert (type(error), error.reason) == (FailedPrecondition, "MODEL_UNSUPPORTED")
        assert "pull it and run it locally" in error.message
