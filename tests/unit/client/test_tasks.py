"""Classifying, detecting and transcribing through the client."""

import threading
from pathlib import Path

import numpy
import pytest

from modelzoo.client import Client
from modelzoo.errors import InvalidArgument, NotFound, ResourceExhausted
from modelzoo.records import Box, LabelScore, Segment
from support.fake_workers import FakeInference


def test_texts_are_classified_in_one_call(client: Client, inference: FakeInference):
    found = client.classify_text("team/bert@prod", ["good", "bad"], top_k=3)
    assert [each.labels[-1].label for each in found] == ["length 4", "length 3"]
    assert (inference.seen[0].top_k, inference.metadata["zoo-model"]) == (3, "team/bert@prod")
    assert len(client.classify_text("team/bert", "one")) == 1
    assert not inference.seen[1].HasField("top_k")


def test_picture_is_classified_and_what_answered_is_kept(client: Client, inference: FakeInference):
    found = client.classify_image("team/vision", b"picture", top_k=2)
    assert found.labels[0] == LabelScore("palace", 0.75, 0)
    assert (found.computed.reference, found.computed.queue_s, found.computed.compute_s) == ("team/vision@1", 0.25, 1.5)
    assert (inference.seen[0].image, inference.metadata["zoo-model"]) == (b"picture", "team/vision")


def test_objects_have_boxes_in_the_size_of_the_picture(client: Client, inference: FakeInference):
    found = client.detect_objects("team/yolo", numpy.zeros((80, 100, 3), "uint8"), threshold=0.5, max_detections=9)
    assert [(each.label.label, each.box) for each in found.detections] == [("palace", Box(10.0, 20.0, 60.0, 50.0))]
    assert (found.width, found.height) == (100, 80)
    assert inference.seen[0].image.startswith(b"\x89PNG")
    assert inference.seen[0].max_detections == 9


def test_sound_is_transcribed_with_the_times_of_its_parts(client: Client, inference: FakeInference):
    said = client.transcribe("team/whisper", numpy.zeros(16_000, "float32"), rate_hz=16_000, language="fr")
    assert said.text == "Paris."
    assert said.segments == (Segment("Par", 0.0, 1.0), Segment("is.", 1.0, 2.0))
    assert (said.duration_s, said.output_tokens) == (2.0, 2)
    assert inference.seen[0].language == "fr"
    assert inference.seen[0].audio.startswith(b"RIFF")


def test_unreadable_path_is_refused_before_anything_is_sent(client: Client, inference: FakeInference, tmp_path: Path):
    for call in (client.classify_image, client.detect_objects, client.transcribe):
        with pytest.raises(InvalidArgument) as caught:
            call("team/m", tmp_path / "nowhere")
        assert caught.value.reason == "LOCAL_PATH_INVALID"
    assert not inference.seen


def test_option_that_cannot_be_written_is_refused_before_it_is_sent(client: Client, inference: FakeInference):
    with pytest.raises(InvalidArgument) as caught:
        client.classify_image("team/m", b"x", top_k=-1)
    assert caught.value.reason == "FIELD_INVALID"
    assert not inference.seen


def test_map_answers_in_the_order_of_the_inputs(client: Client):
    pictures = [b"x" * length for length in range(1, 31)]
    found = client.map(client.classify_image, "team/vision", pictures, top_k=1)
    assert [each.labels[-1].label for each in found] == [f"length {length}" for length in range(1, 31)]


def test_map_has_eight_calls_under_way_and_no_more(client: Client):
    together = threading.Barrier(8)
    under_way: set[int] = set()

    def call(ref: str, number: int) -> int:
        under_way.add(number)
        together.wait(10)  # breaks unless eight are here at once
        most = len(under_way)
        together.wait(10)
        under_way.remove(number)
        together.wait(10)
        return most

    assert client.map(call, "team/m", range(16)) == [8] * 16


def test_map_raises_the_first_error_and_leaves_what_had_not_begun(client: Client):
    begun: list[int] = []
    refused = threading.Event()

    def call(ref: str, number: int) -> None:
        begun.append(number)
        if number == 0:
            raise NotFound("MODEL_NOT_FOUND", "no such model")
        refused.wait(10)

    with pytest.raises(NotFound):
        client.map(call, "team/m", range(100))
    refused.set()
    assert len(begun) < 20


def test_error_of_map_says_which_input(client: Client, tmp_path: Path):
    with pytest.raises(InvalidArgument) as caught:
        client.map(client.classify_image, "team/m", [b"x", tmp_path / "nowhere", b"x"])
    assert caught.value.__notes__ == [f"Input 1 ({str(tmp_path / 'nowhere')!r})."]


def test_refusal_of_the_worker_comes_through(client: Client, inference: FakeInference):
    inference.failing = ResourceExhausted("QUEUE_FULL", "the queue is full", retry_after_s=2.0)
    with pytest.raises(ResourceExhausted) as caught:
        client.map(client.transcribe, "team/whisper", [b"a", b"b"], language="en")
    assert caught.value.reason == "QUEUE_FULL"
