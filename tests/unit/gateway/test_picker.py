"""The picker's side of Envoy's protocol, event by event; tests/e2e/test_gateway.py shows the same with Envoy."""

import hashlib
import random
from collections.abc import AsyncIterator
from typing import Any

import pytest
from envoy.service.ext_proc.v3 import external_processor_pb2
from google.protobuf import descriptor_pb2

from support.toy_presence import worker
from zoo.inference.v1 import inference_service_pb2 as pb
from zoo_gateway.access import Access, Key
from zoo_gateway.choose import Chooser
from zoo_gateway.ext_proc import Body, Call, Event, Trailers
from zoo_gateway.identity import Identity
from zoo_gateway.picker import DESTINATION, Picker
from zoo_gateway.routes import Routes
from zoo_server.principal import create_signer

KEY = f"zoo_{'0' * 16}_{'a' * 43}"
UNARY, TALK = "/zoo.inference.v1.Toy/Unary", "/zoo.inference.v1.Toy/Talk"
MESSAGE = pb.EmbedRequest(model="ns/two", texts=["x" * 1000]).SerializeToString()
FRAMED = b"\0" + len(MESSAGE).to_bytes(4, "big") + MESSAGE


def picker() -> Picker:
    file = descriptor_pb2.FileDescriptorProto(name="toy.proto", package="zoo.inference.v1")
    service = file.service.add(name="Toy")
    service.method.add(name="Unary")
    service.method.add(name="Talk", client_streaming=True, server_streaming=True)
    identity = Identity(create_signer("gateway"))
    key = Key("0" * 16, hashlib.sha256(KEY.encode()).digest(), "team:a", None, None)
    identity.replace(Access({key.id: key}, {}))
    workers = [worker(1, "ns/one@1"), worker(2, "ns/two@1")]
    routes = Routes(descriptor_pb2.FileDescriptorSet(file=[file]))
    return Picker(routes, identity, Chooser(lambda: workers, random.Random(7)))


def call(path: str, model: str | None = None, *, key: str = KEY, ends_here: bool = False) -> Call:
    return Call(path, f"Bearer {key}", model, by_grpc=True, ends_here=ends_here)


async def answers(*events: Event) -> list[Any]:
    async def given() -> AsyncIterator[Event]:
        for event in events:
            yield event

    return [external_processor_pb2.ProcessingResponse.FromString(a) async for a in picker().process(given())]


def set_headers(part: Any) -> dict[str, str]:
    options = part.response.header_mutation.set_headers
    return {option.header.key: option.header.raw_value.decode() for option in options}


@pytest.mark.parametrize("path", [UNARY, TALK])
async def test_model_in_metadata_is_answered_at_once_and_nothing_more_is_asked(path):
    (answer,) = await answers(call(path, "ns/two"), Body(FRAMED, is_last=True))
    headers = set_headers(answer.request_headers)
    assert headers[DESTINATION].startswith("10.0.0.2:80,")
    assert headers["zoo-principal"].count(".") == 2


async def test_model_in_the_body_is_read_from_the_whole_body():
    ask, answer = await answers(call(UNARY), Body(FRAMED, is_last=True))
    assert ask.mode_override.request_body_mode == 2  # BUFFERED
    assert set_headers(answer.request_body)[DESTINATION].startswith("10.0.0.2:80,")


async def test_conversation_is_withheld_until_its_model_is_known_then_passes_unchanged():
    pieces = [Body(FRAMED[:9], is_last=False), Body(FRAMED[9:], is_last=False), Body(b"more", is_last=True)]
    first, *echoes = await answers(call(TALK), *pieces)
    assert set_headers(first.request_headers)[DESTINATION].startswith("10.0.0.2:80,")
    echoed = [e.request_body.response.body_mutation.streamed_response for e in echoes]
    assert [(e.body, e.end_of_stream) for e in echoed] == [(p.data, p.is_last) for p in pieces]


async def test_conversation_that_ends_before_it_names_a_model_is_let_through():
    first, body, end = await answers(call(TALK), Body(b"", is_last=False), Trailers())
    assert DESTINATION in set_headers(first.request_headers)
    assert (body.WhichOneof("response"), end.WhichOneof("response")) == ("request_body", "request_trailers")


async def test_call_without_a_body_is_not_asked_for_one():
    (answer,) = await answers(call(UNARY, ends_here=True))
    assert DESTINATION in set_headers(answer.request_headers)


@pytest.mark.parametrize(
    ("refused", "status"),
    [(call(UNARY, key="x"), 16), (call("/nothing"), 12), (call(UNARY, "no such"), 3)],
    ids=["bad key", "no method", "bad reference"],
)
async def test_refusal_ends_the_call_with_its_status(refused, status):
    (answer,) = await answers(refused)
    assert answer.immediate_response.grpc_status.status == status
    assert answer.dynamic_metadata["zoo.picker"]["refused"] is True


async def test_call_that_went_away_needs_no_answer():
    assert await answers() == []
    assert len(await answers(call(UNARY))) == 1
