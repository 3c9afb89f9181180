import asyncio
import threading
from collections.abc import AsyncIterator, Iterator
from concurrent import futures

import grpc
import pytest

from modelzoo.channel import MESSAGE_BYTES_MAX, UNARY_TIMEOUT_S, Target, open_aio_channel, open_channel, parse_url
from modelzoo.errors import FailedPrecondition, Unauthenticated

KEY = "zoo_test_key"


class Recorder:
    """A server of four methods, one of each kind, that keeps what it saw and can refuse the first calls."""

    def __init__(self) -> None:
        self.seen: list[dict[str, str]] = []
        self.remaining_s: list[float | None] = []
        self.to_refuse = 0
        server = grpc.server(futures.ThreadPoolExecutor(4), options=[("grpc.max_receive_message_length", -1)])
        handlers = {
            "UnaryUnary": grpc.unary_unary_rpc_method_handler(self.answer),
            "UnaryStream": grpc.unary_stream_rpc_method_handler(lambda r, c: iter([self.answer(r, c)])),
            "StreamUnary": grpc.stream_unary_rpc_method_handler(lambda r, c: self.answer(b"".join(r), c)),
            "StreamStream": grpc.stream_stream_rpc_method_handler(lambda r, c: iter([self.answer(b"".join(r), c)])),
        }
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("test.Service", handlers),))
        self.port = server.add_insecure_port("127.0.0.1:0")
        self.server = server
        self.lock = threading.Lock()
        server.start()

    def answer(self, request: bytes, context: grpc.ServicerContext) -> bytes:
        with self.lock:
            self.seen.append({key: str(value) for key, value in context.invocation_metadata()})
            self.remaining_s.append(context.time_remaining())
            refused = self.to_refuse > 0
            self.to_refuse -= 1
        if refused:
            context.abort(grpc.StatusCode.UNAVAILABLE, "not now")
        return request


@pytest.fixture
def recorder() -> Iterator[Recorder]:
    recorder = Recorder()
    yield recorder
    recorder.server.stop(None).wait()


def url(recorder: Recorder) -> str:
    return f"http://127.0.0.1:{recorder.port}"


def test_every_kind_of_call_carries_the_key_once_and_the_user_agent(recorder: Recorder):
    with open_channel(url(recorder), KEY) as channel:
        assert channel.unary_unary("/test.Service/UnaryUnary")(b"1") == b"1"
        assert list(channel.unary_stream("/test.Service/UnaryStream")(b"2")) == [b"2"]
        assert channel.stream_unary("/test.Service/StreamUnary")(iter([b"3"])) == b"3"
        assert list(channel.stream_stream("/test.Service/StreamStream")(iter([b"4"]), metadata=(("a", "b"),))) == [b"4"]
    assert [seen["authorization"] for seen in recorder.seen] == [f"Bearer {KEY}"] * 4
    assert recorder.seen[3]["a"] == "b"
    assert recorder.seen[0]["user-agent"].startswith("modelzoo/")


async def test_every_kind_of_aio_call_carries_the_key(recorder: Recorder):
    async def requests(data: bytes) -> AsyncIterator[bytes]:
        yield data

    async with open_aio_channel(url(recorder), KEY) as channel:
        assert await channel.unary_unary("/test.Service/UnaryUnary")(b"1", metadata=(("a", "b"),)) == b"1"
        assert [r async for r in channel.unary_stream("/test.Service/UnaryStream")(b"2")] == [b"2"]
        assert await channel.stream_unary("/test.Service/StreamUnary")(requests(b"3")) == b"3"
        assert [r async for r in channel.stream_stream("/test.Service/StreamStream")(requests(b"4"))] == [b"4"]
    assert [seen["authorization"] for seen in recorder.seen] == [f"Bearer {KEY}"] * 4
    assert recorder.seen[0]["a"] == "b"


def test_unary_calls_get_a_deadline_unless_they_have_one_and_streams_get_none(recorder: Recorder):
    with open_channel(url(recorder), KEY) as channel:
        channel.unary_unary("/test.Service/UnaryUnary")(b"")
        channel.unary_unary("/test.Service/UnaryUnary")(b"", timeout=5)
        list(channel.unary_stream("/test.Service/UnaryStream")(b""))
    default, own, none = recorder.remaining_s
    assert default is not None
    assert UNARY_TIMEOUT_S - 10 < default < UNARY_TIMEOUT_S + 1
    assert own is not None
    assert own < 6  # grpc rounds up
    assert none is None or none > 1e6


async def test_an_aio_unary_call_gets_a_deadline(recorder: Recorder):
    async with open_aio_channel(url(recorder), KEY) as channel:
        await channel.unary_unary("/test.Service/UnaryUnary")(b"")
    assert recorder.remaining_s[0] is not None
    assert recorder.remaining_s[0] < UNARY_TIMEOUT_S + 1


@pytest.mark.parametrize(("refusals", "calls"), [(1, 2), (3, 4)])
def test_unavailable_is_retried(recorder: Recorder, refusals: int, calls: int):
    recorder.to_refuse = refusals
    with open_channel(url(recorder), KEY) as channel:
        assert channel.unary_unary("/test.Service/UnaryUnary")(b"x") == b"x"
    assert len(recorder.seen) == calls


def test_retries_stop_when_the_budget_is_spent(recorder: Recorder):
    recorder.to_refuse = 1_000
    calls = 12
    with open_channel(url(recorder), KEY) as channel:
        for _ in range(calls):
            with pytest.raises(grpc.RpcError):
                channel.unary_unary("/test.Service/UnaryUnary")(b"x")
    assert calls < len(recorder.seen) < 2 * calls


def test_a_message_of_64_mib_passes(recorder: Recorder):
    content = bytes(64 * 1024 * 1024)
    assert len(content) < MESSAGE_BYTES_MAX
    with open_channel(url(recorder), KEY) as channel:
        assert len(channel.unary_unary("/test.Service/UnaryUnary")(content)) == len(content)


def test_nothing_listening_ends_as_unavailable_soon():
    async def call() -> None:
        async with open_aio_channel("http://127.0.0.1:1", KEY) as channel:
            await channel.unary_unary("/test.Service/UnaryUnary")(b"")

    with pytest.raises(grpc.aio.AioRpcError) as caught:
        asyncio.run(asyncio.wait_for(call(), 20))
    assert caught.value.code() == grpc.StatusCode.UNAVAILABLE


@pytest.mark.parametrize(
    ("text", "target"),
    [
        ("http://zoo:8080", Target("zoo:8080", False)),
        ("http://zoo:8080/", Target("zoo:8080", False)),
        ("http://zoo", Target("zoo:80", False)),
        ("https://zoo.example", Target("zoo.example:443", True)),
        ("https://zoo.example:8443", Target("zoo.example:8443", True)),
        ("localhost:8080", Target("localhost:8080", False)),
        ("127.0.0.1:8080", Target("127.0.0.1:8080", False)),
        ("http://[::1]:8080", Target("[::1]:8080", False)),
    ],
)
def test_an_address_is_understood(text: str, target: Target):
    assert parse_url(text) == target


@pytest.mark.parametrize(
    "text",
    [
        *["", "zoo", "http://", "ftp://zoo:1", "unix:///tmp/x", "http://zoo:x", "http://zoo:99999", "http://u:p@zoo:1"],
        *["http://zoo:1/path", "http://zoo:1?x", "http://zoo:1#x", "http://zoo :1", "http://zoo\n:1", "http://zoö:1"],
        *["http://[::1", "://zoo:1"],
    ],
)
def test_what_is_no_address_is_refused(text: str):
    with pytest.raises(FailedPrecondition) as caught:
        parse_url(text)
    assert caught.value.reason == "CONFIGURATION_MISSING"


@pytest.mark.parametrize("key", ["", "a b", "a\n", "ключ", "a\x00"])
def test_a_key_that_cannot_be_a_header_is_refused_and_not_shown(key: str):
    with pytest.raises(Unauthenticated) as caught:
        open_channel("http://localhost:1", key)
    assert not key or key not in caught.value.message
