"""What is repeated when a call fails, and by whom."""

import asyncio
import random
import threading
from collections.abc import Iterator
from concurrent import futures
from contextlib import suppress

import grpc
import pytest

from modelzoo.attempts import STARTS, answers
from modelzoo.channel import open_channel
from modelzoo.errors import Unavailable
from modelzoo.generation import Generation
from modelzoo.retry_policy import STREAMS
from support.proxy import proxy_before
from zoo.artifact.v1 import artifact_service_pb2 as pb
from zoo.artifact.v1 import artifact_service_pb2_grpc as rpc
from zoo.inference.v1 import generation_pb2, inference_service_pb2, inference_service_pb2_grpc
from zoo_gateway.routes import load_descriptors

KEY = "zoo_test_key"
PIECES = 8
READERS, OUTAGES, CALL_S = 4, 15, 5.0


class Files(rpc.ArtifactServiceServicer, inference_service_pb2_grpc.InferenceServiceServicer):
    """Answers in pieces; refuses the first calls where it is told to, and breaks off after some pieces."""

    def __init__(self) -> None:
        self.calls = 0
        self.to_refuse = 0
        self.breaks_after = PIECES

    def ReadFile(self, request: pb.ReadFileRequest, context: grpc.ServicerContext) -> Iterator[pb.ReadFileResponse]:
        for _ in self._pieces(context):
            yield pb.ReadFileResponse(chunk=bytes(1000))

    def StreamGenerate(
        self, request: inference_service_pb2.StreamGenerateRequest, context: grpc.ServicerContext
    ) -> Iterator[inference_service_pb2.StreamGenerateResponse]:
        for _ in self._pieces(context):
            yield inference_service_pb2.StreamGenerateResponse(text="a")
        yield inference_service_pb2.StreamGenerateResponse(finish=generation_pb2.Finish())

    def _pieces(self, context: grpc.ServicerContext) -> Iterator[int]:
        self.calls += 1
        if self.calls <= self.to_refuse:
            context.abort(grpc.StatusCode.UNAVAILABLE, "not now")
        yield from range(min(PIECES, self.breaks_after))
        if self.breaks_after < PIECES:
            context.abort(grpc.StatusCode.UNAVAILABLE, "no more")


@pytest.fixture
def files() -> Files:
    return Files()


@pytest.fixture
def port(files: Files) -> Iterator[int]:
    server = grpc.server(futures.ThreadPoolExecutor(2 * READERS))
    rpc.add_ArtifactServiceServicer_to_server(files, server)
    inference_service_pb2_grpc.add_InferenceServiceServicer_to_server(files, server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    yield port
    server.stop(None).wait()


def read(channel: grpc.Channel) -> Iterator[pb.ReadFileResponse]:
    return rpc.ArtifactServiceStub(channel).ReadFile(pb.ReadFileRequest(), timeout=CALL_S)


def test_every_stream_of_the_api_is_left_to_its_reader() -> None:
    """One that is forgotten hangs for good, once in a while, when a connection breaks."""
    streams = {
        (f"{file.package}.{service.name}", method.name)
        for file in load_descriptors().file
        if file.package.startswith("zoo.")
        for service in file.service
        for method in service.method
        if method.client_streaming or method.server_streaming
    }
    assert streams
    assert set(STREAMS) == streams


async def test_a_stream_whose_server_comes_and_goes_ends(files: Files, port: int) -> None:
    """Some never did, past their deadline, as long as gRPC was to repeat them: some of four readers within a second."""
    dice, over = random.Random(1), threading.Event()

    def work(address: str) -> None:
        while not over.is_set():
            with open_channel(address, KEY) as channel, suppress(grpc.RpcError):
                list(read(channel))

    async with proxy_before(port) as proxy:
        readers = [threading.Thread(target=work, args=(proxy.endpoint,), daemon=True) for _ in range(READERS)]
        for reader in readers:
            reader.start()
        for _ in range(OUTAGES):
            await asyncio.sleep(dice.uniform(0, 0.2))
            await proxy.refuse()
            await asyncio.sleep(dice.uniform(0, 0.4))
            await proxy.listen()
        over.set()
        for reader in readers:
            await asyncio.to_thread(reader.join, 4 * CALL_S)
            assert not reader.is_alive(), "a call hangs"
    assert files.calls > OUTAGES
    assert proxy.connections > READERS


def test_a_call_that_was_refused_before_its_first_answer_is_made_again(files: Files, port: int) -> None:
    files.to_refuse = STARTS - 1
    with open_channel(f"http://127.0.0.1:{port}", KEY) as channel:
        assert len(list(answers(lambda: read(channel)))) == PIECES
    assert files.calls == STARTS


def test_not_more_often_than_unary_calls_are(files: Files, port: int) -> None:
    files.to_refuse = 1000
    with open_channel(f"http://127.0.0.1:{port}", KEY) as channel, pytest.raises(Unavailable):
        list(answers(lambda: read(channel)))
    assert files.calls == STARTS


def test_after_its_first_answer_it_is_not(files: Files, port: int) -> None:
    """Or what was told already would be told twice."""
    files.breaks_after = 3
    with open_channel(f"http://127.0.0.1:{port}", KEY) as channel, pytest.raises(Unavailable):
        list(answers(lambda: read(channel)))
    assert files.calls == 1


def test_a_text_is_asked_for_again_where_no_worker_was_there_yet(files: Files, port: int) -> None:
    files.to_refuse = STARTS - 1
    request = inference_service_pb2.StreamGenerateRequest()
    with open_channel(f"http://127.0.0.1:{port}", KEY) as channel:
        stub = inference_service_pb2_grpc.InferenceServiceStub(channel)
        with Generation(lambda: stub.StreamGenerate(request)) as text:
            assert "".join(text) == "a" * PIECES
    assert files.calls == STARTS


def test_a_text_that_was_begun_is_not_begun_again(files: Files, port: int) -> None:
    files.breaks_after = 3
    request = inference_service_pb2.StreamGenerateRequest()
    with open_channel(f"http://127.0.0.1:{port}", KEY) as channel:
        stub = inference_service_pb2_grpc.InferenceServiceStub(channel)
        with Generation(lambda: stub.StreamGenerate(request)) as text:
            assert [next(text) for _ in range(3)] == ["a"] * 3
            with pytest.raises(Unavailable):
                next(text)
    assert files.calls == 1
