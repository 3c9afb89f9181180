"""Generating and embedding, and what becomes of streams that break."""

import grpc
import numpy
import pytest

from modelzoo.client import Client
from modelzoo.errors import Interrupted, InvalidArgument, ResourceExhausted, Unauthenticated, Unavailable
from support.fake_workers import FakeInference
from support.front_door import FrontDoor

RESET = (grpc.StatusCode.INTERNAL, "Received RST_STREAM with error code 2")
CLOSED = (grpc.StatusCode.UNAVAILABLE, "Socket closed")


def test_pieces_come_as_they_are_made_and_finish_says_how_it_ended(client: Client, inference: FakeInference):
    generation = client.generate("team/chat", "capital?", temperature=0.5, stop=["\n"], max_tokens=9, seed=7)
    assert list(generation) == ["Par", "is."]
    assert (generation.finish.reason, generation.finish.output_tokens) == ("STOP", 2)
    request = inference.seen[0]
    assert (request.model, request.input.prompt) == ("team/chat", "capital?")
    assert (request.input.sampling.seed, request.input.max_tokens, list(request.input.stop)) == (7, 9, ["\n"])
    assert not request.input.sampling.HasField("top_p")


def test_reference_goes_along_as_metadata(client: Client, inference: FakeInference):
    client.complete("chat@prod", "hi")
    assert inference.metadata["zoo-model"] == "zoo/chat@prod"


@pytest.mark.parametrize("end", [RESET, CLOSED, None])
def test_stream_that_ends_without_its_last_message_is_interrupted(
    client: Client, inference: FakeInference, end: object
):
    inference.finish, inference.failing = None, end
    generation = client.generate("team/chat", "hi")
    assert [next(generation), next(generation)] == ["Par", "is."]
    with pytest.raises(Interrupted) as caught:
        next(generation)
    assert caught.value.reason == "STREAM_INTERRUPTED"
    with pytest.raises(RuntimeError):
        _ = generation.finish


def test_what_the_server_says_in_mid_stream_comes_through(client: Client, inference: FakeInference):
    inference.failing = Unavailable("ENGINE_FAILED", "the engine failed; ask again")
    with pytest.raises(Unavailable) as caught:
        list(client.generate("team/chat", "hi"))
    assert caught.value.reason == "ENGINE_FAILED"


def test_refusal_keeps_reason_and_delay(client: Client, inference: FakeInference):
    inference.pieces = ()
    inference.failing = ResourceExhausted("QUEUE_FULL", "the queue is full", retry_after_s=2.0)
    with pytest.raises(ResourceExhausted) as caught:
        next(client.generate("team/chat", "hi"))
    assert (caught.value.reason, caught.value.retry_after_s) == ("QUEUE_FULL", 2.0)


def test_dropping_the_generation_ends_the_work_on_the_server(client: Client, inference: FakeInference):
    inference.stall = True
    for _ in client.generate("team/chat", "hi"):
        break
    assert inference.gone.wait(10)


def test_closing_the_generation_ends_the_work_on_the_server(client: Client, inference: FakeInference):
    inference.stall = True
    with client.generate("team/chat", "hi") as generation:
        assert next(generation) == "Par"
    assert inference.gone.wait(10)


def test_chat_and_raw_text_go_as_what_they_are(client: Client, inference: FakeInference):
    client.complete("team/chat", [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "hi"}])
    client.complete("team/chat", "Once upon", raw=True)
    chat, raw = (request.input for request in inference.seen)
    assert [message.content for message in chat.chat.messages] == ["Be brief.", "hi"]
    assert raw.text == "Once upon"


@pytest.mark.parametrize(
    ("prompt", "options", "reason"),
    [
        ("\ud800", {}, "TEXT_INVALID"),
        ("hi", {"seed": -1}, "FIELD_INVALID"),
        ("hi", {"max_tokens": 10**12}, "FIELD_INVALID"),
        ([{"role": "robot", "content": "hi"}], {}, "FIELD_INVALID"),
        ([{"role": "user", "content": "hi"}], {"raw": True}, "FIELD_INVALID"),
    ],
)
def test_request_that_cannot_be_written_is_refused_before_it_is_sent(
    client: Client, inference: FakeInference, prompt: object, options: dict[str, object], reason: str
):
    with pytest.raises(InvalidArgument) as caught:
        client.generate("team/chat", prompt, **options)
    assert caught.value.reason == reason
    assert not inference.seen


def test_vectors_are_one_float32_array(client: Client):
    vectors = client.embed("team/minilm", ["a", "bcd"])
    assert vectors.dtype == numpy.float32
    assert vectors.tolist() == [[1.0, 1.0], [3.0, 1.0]]
    assert client.embed("team/minilm", "ab").shape == (1, 2)


def test_nothing_at_the_address_is_unreachable():
    with Client("127.0.0.1:1", "key") as client, pytest.raises(Unavailable) as caught:
        client.workers()
    assert caught.value.reason == "SERVER_UNREACHABLE"


def test_unknown_key_is_refused(door: FrontDoor):
    with Client(door.url, "wrong-key") as client, pytest.raises(Unauthenticated) as caught:
        list(client.models())
    assert caught.value.reason == "CREDENTIAL_INVALID"
