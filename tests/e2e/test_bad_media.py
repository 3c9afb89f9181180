"""Hostile pictures, sounds and texts through the gateway, by gRPC, by JSON and as raw bodies, while a stream of healthy
requests of the same worker runs beside and loses none."""

import base64
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import httpx
import numpy as np
import pytest
from PIL import Image

from support.bad_media import HTML, SVG, noise_picture, picture, png, silence, sound, tone, wav, wav_claiming
from support.cluster import Cluster
from support.healthy_stream import HealthyStream, healthy_stream
from support.refusals import TIMEOUT_S, Case, assert_refused
from support.tiny_task_models import (
    TEXT_CONTEXT,
    tiny_image_classifier,
    tiny_object_detector,
    tiny_text_classifier,
    tiny_transcriber,
)

INFERENCE = "zoo.inference.v1.InferenceService"
NAMESPACE = "badmedia"
PICTURES, SCENES = f"{NAMESPACE}/pictures", f"{NAMESPACE}/scenes"
TEXTS, SPEECH = f"{NAMESPACE}/texts", f"{NAMESPACE}/speech"
MODELS: dict[str, Callable[[Path], Path]] = {
    PICTURES: tiny_image_classifier,
    SCENES: tiny_object_detector,
    TEXTS: tiny_text_classifier,
    SPEECH: tiny_transcriber,
}
PHOTO = picture(noise_picture(), "JPEG")
VOICE = sound(tone(1.0))


@pytest.fixture(scope="module")
def published(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Cluster:
    root = tmp_path_factory.mktemp("models")
    with cluster.client() as zoo:
        zoo.create_namespace(NAMESPACE)
        for reference, make in MODELS.items():
            zoo.push(make(root / reference.partition("/")[2]), reference)
    return cluster


@pytest.fixture(scope="module")
def streams(published: Cluster) -> Iterator[list[HealthyStream]]:
    """A photo is classified and a voice transcribed, over and over again."""
    with ExitStack() as stack:
        zoo = stack.enter_context(published.client())

        def photo() -> list[tuple[str, float]]:
            answer = zoo.classify_image(PICTURES, PHOTO)
            return [(label.label, round(label.score, 4)) for label in answer.labels]

        def voice() -> str:
            return zoo.transcribe(SPEECH, VOICE).text

        yield [stack.enter_context(healthy_stream(ask)) for ask in (photo, voice)]


@pytest.fixture
def zoo(published: Cluster, streams: list[HealthyStream]) -> Iterator[Cluster]:
    """The cluster; at the end of the test the healthy streams have gone on."""
    with ExitStack() as stack:
        for stream in streams:
            stack.enter_context(stream.beside())
        yield published


def classifies(image: bytes, reason: str, says: str = "", *, model: str = PICTURES) -> Case:
    """A picture to classify."""
    request = {"model": model, "image": base64.b64encode(image).decode()}
    code = "FAILED_PRECONDITION" if reason == "TASK_MISMATCH" else "INVALID_ARGUMENT"
    return Case(f"{INFERENCE}/ClassifyImage", ("POST", "/v1/images:classify"), request, code, reason, says)


def transcribes(audio: bytes, reason: str, says: str = "", *, model: str = SPEECH) -> Case:
    """A sound to transcribe."""
    request = {"model": model, "audio": base64.b64encode(audio).decode()}
    code = "FAILED_PRECONDITION" if reason == "TASK_MISMATCH" else "INVALID_ARGUMENT"
    return Case(f"{INFERENCE}/Transcribe", ("POST", "/v1/audio:transcribe"), request, code, reason, says)


def labels(text: str, reason: str, says: str = "", *, model: str = TEXTS) -> Case:
    """A text to classify."""
    request = {"model": model, "texts": ["good", text]}
    code = "FAILED_PRECONDITION" if reason == "TASK_MISMATCH" else "INVALID_ARGUMENT"
    return Case(f"{INFERENCE}/ClassifyText", ("POST", "/v1/texts:classify"), request, code, reason, says)


def not_a_number() -> bytes:
    samples = np.zeros(16_000, np.float32)
    samples[8_000] = np.nan
    return wav(samples.tobytes(), is_float=True)


BAD_PICTURES = {
    "no bytes": (b"", "INPUT_EMPTY", ""),
    "truncated JPEG": (PHOTO[: len(PHOTO) // 2], "IMAGE_INVALID", "whole file"),
    "truncated PNG": (picture(noise_picture())[:500], "IMAGE_INVALID", "whole file"),
    "zero pixels": (png(0, 5), "IMAGE_INVALID", ""),
    "SVG": (SVG, "IMAGE_INVALID", "SVG"),
    "HTML": (HTML, "IMAGE_INVALID", "HTML"),
    "text": (b"a picture of a cat", "IMAGE_INVALID", "plain text"),
    "a sound": (VOICE, "IMAGE_INVALID", "WAV"),
    "900 million pixels in a kilobyte": (png(30_000, 30_000), "IMAGE_TOO_LARGE", "30000 x 30000"),
    "a line": (png(1, 100_000, rows=bytes(400_000)), "IMAGE_INVALID", "1 x 100000"),
}
BAD_SOUNDS = {
    "no bytes": (b"", "INPUT_EMPTY", ""),
    "no samples": (wav(b""), "INPUT_EMPTY", "WAV"),
    "1 Hz": (wav(bytes(200), rate_hz=1), "AUDIO_INVALID", "1 samples a second"),
    "9 channels": (wav(bytes(1800), channels=9), "AUDIO_INVALID", "9 channels"),
    "NaN": (not_a_number(), "AUDIO_INVALID", "0.500 s"),
    "a gigabyte in a kilobyte": (wav_claiming(1 << 30, bytes(1000)), "AUDIO_INVALID", "missing"),
    "half a FLAC": (sound(tone(2.0), form="FLAC")[:20_000], "AUDIO_INVALID", "FLAC"),
    "a picture": (PHOTO, "AUDIO_INVALID", "JPEG"),
    "HTML": (HTML, "AUDIO_INVALID", "HTML"),
}
OTHERS = {
    "text over the context": labels("a" * 90, "CONTEXT_EXCEEDED", f"92 tokens and the model reads {TEXT_CONTEXT}"),
    "blank text": labels(" \n", "INPUT_EMPTY"),
    "NUL": labels("a\0b", "TEXT_INVALID"),
    "picture to a text model": classifies(PHOTO, "TASK_MISMATCH", "ClassifyText", model=TEXTS),
    "picture to a speech model": classifies(PHOTO, "TASK_MISMATCH", "Transcribe", model=SPEECH),
    "text to a picture model": labels("a", "TASK_MISMATCH", "ClassifyImage", model=PICTURES),
    "sound to a picture model": transcribes(VOICE, "TASK_MISMATCH", "ClassifyImage", model=PICTURES),
}


@pytest.mark.parametrize("name", BAD_PICTURES)
def test_a_bad_picture_is_refused(zoo: Cluster, name: str) -> None:
    image, reason, says = BAD_PICTURES[name]
    assert_refused(zoo, classifies(image, reason, says), zoo.admin_key)
    assert_raw_refused(zoo, f"{PICTURES}:classifyImage", image, reason)
    assert_raw_refused(zoo, f"{SCENES}:detectObjects", image, reason)


@pytest.mark.parametrize("name", BAD_SOUNDS)
def test_a_bad_sound_is_refused(zoo: Cluster, name: str) -> None:
    audio, reason, says = BAD_SOUNDS[name]
    assert_refused(zoo, transcribes(audio, reason, says), zoo.admin_key)
    assert_raw_refused(zoo, f"{SPEECH}:transcribe", audio, reason)


def test_ten_hours_of_silence_are_refused(zoo: Cluster) -> None:
    audio = silence(36_000, "FLAC", 4_000)
    assert_refused(zoo, transcribes(audio, "AUDIO_TOO_LONG", "36,000 s"), zoo.admin_key)
    assert_raw_refused(zoo, f"{SPEECH}:transcribe", audio, "AUDIO_TOO_LONG")


@pytest.mark.parametrize("name", OTHERS)
def test_a_bad_text_or_a_wrong_model_is_refused(zoo: Cluster, name: str) -> None:
    assert_refused(zoo, OTHERS[name], zoo.admin_key)


def test_odd_but_whole_pictures_are_read(zoo: Cluster) -> None:
    image = noise_picture()
    exif = Image.Exif()
    exif[0x0112] = 6
    odd = {
        "CMYK": picture(image.convert("CMYK"), "JPEG"),
        "16 bits": picture(Image.fromarray(np.asarray(image.convert("L")).astype(np.uint16) * 257)),
        "animated": picture(image, "GIF", save_all=True, append_images=[noise_picture(seed=1)]),
        "palette": picture(image.quantize(16)),
        "alpha": picture(image.convert("RGBA"), "WEBP"),
        "bilevel": picture(image.convert("1"), "TIFF"),
        "one pixel": picture(image.crop((0, 0, 1, 1))),
    }
    with zoo.client() as client:
        for name, data in odd.items():
            assert len(client.classify_image(PICTURES, data).labels) == 5, name
        scene = client.detect_objects(SCENES, picture(image, "JPEG", exif=exif))
    assert (scene.width, scene.height) == (image.height, image.width)


def test_odd_but_whole_sounds_are_heard(zoo: Cluster) -> None:
    second = (tone(1.0)[:, 0] * 32767).astype("<i2").tobytes()
    odd = {
        "7 channels": sound(tone(1.0, channels=7)),
        "4 GiB claimed by a recorder": wav_claiming(0xFFFFFFFF, second),
        "44.1 kHz": sound(tone(1.0, 44_100), 44_100, "OGG"),
        "MP3": sound(tone(1.0, 48_000, 2), 48_000, "MP3"),
    }
    with zoo.client() as client:
        for name, data in odd.items():
            assert client.transcribe(SPEECH, data).duration_s == pytest.approx(1.0, abs=0.1), name


def assert_raw_refused(zoo: Cluster, call: str, content: bytes, reason: str) -> None:
    headers = {"authorization": f"Bearer {zoo.admin_key}"}
    answer = httpx.post(f"{zoo.url}/v1/models/{call}", content=content, headers=headers, timeout=TIMEOUT_S)
    assert answer.status_code == 400, answer.text
    reasons = [detail["reason"] for detail in answer.json()["details"] if "reason" in detail]
    assert reasons == [reason], answer.text
