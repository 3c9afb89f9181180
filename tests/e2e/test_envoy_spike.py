"""What the gateway's design leans on, shown with a toy: Envoy, a picker by ext_proc, and workers from an EDS file."""

from collections.abc import Iterator

import grpc
import httpx
import pytest
from google.rpc import error_details_pb2, status_pb2

from support.toy_cluster import ToyCluster, toy_cluster
from support.waiting import eventually

MODEL = ("zoo-model", "m")


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ToyCluster]:
    with toy_cluster(tmp_path_factory.mktemp("toy")) as cluster:
        yield cluster


@pytest.fixture
def own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ToyCluster]:
    """For tests that kill."""
    with toy_cluster(tmp_path_factory.mktemp("toy")) as cluster:
        yield cluster


def channel(cluster: ToyCluster) -> grpc.aio.Channel:
    return grpc.aio.insecure_channel(cluster.envoy.listen)


def rest(cluster: ToyCluster) -> httpx.AsyncClient:
    return httpx.AsyncClient(base_url=f"http://{cluster.envoy.listen}", timeout=10)


def say(cluster: ToyCluster, **fields):
    return cluster.stubs.pb.SayRequest(**{"model": "m", "text": "hello", **fields})


@pytest.mark.parametrize("metadata", [(), (MODEL,)], ids=["model in body", "model in metadata"])
async def test_unary_call_reaches_the_picked_worker_with_the_model_read(shared, metadata):
    async with channel(shared) as c:
        answer = await shared.stubs.rpc.ToyServiceStub(c).Say(say(shared), metadata=metadata)
    assert (answer.worker, answer.text, answer.headers["zoo-model-read"]) == ("first", "hello", "m")


@pytest.mark.parametrize("metadata", [(), (MODEL,)], ids=["model in body", "model in metadata"])
async def test_server_stream_passes_message_by_message(shared, metadata):
    async with channel(shared) as c:
        call = shared.stubs.rpc.ToyServiceStub(c).StreamSay(say(shared, count=3), metadata=metadata)
        assert [m.text async for m in call] == ["hello 0", "hello 1", "hello 2"]


@pytest.mark.parametrize("metadata", [(), (MODEL,)], ids=["model in body", "model in metadata"])
async def test_conversation_alternates_through_the_picker(shared, metadata):
    async with channel(shared) as c:
        call = shared.stubs.rpc.ToyServiceStub(c).Converse(metadata=metadata)
        for text in ("a", "b", "c"):
            await call.write(say(shared, text=text))
            assert (await call.read()).text == text
        await call.done_writing()
        assert await call.read() is grpc.aio.EOF


async def test_large_body_is_buffered_and_read_by_the_picker(shared):
    async with channel(shared) as c:
        answer = await shared.stubs.rpc.ToyServiceStub(c).Say(say(shared, text="x" * (8 << 20)))
    assert answer.headers["zoo-model-read"] == "m"


async def test_unary_stream_and_conversation_by_rest(shared):
    async with rest(shared) as http:
        one = await http.post("/v1/toy:say", json={"model": "m", "text": "hello"})
        many = await http.post("/v1/toy:streamSay", json={"model": "m", "text": "hello", "count": 2})
        talk = await http.post("/v1/toy:converse", json=[{"model": "m", "text": "a"}, {"model": "m", "text": "b"}])
    assert (one.json()["worker"], one.json()["headers"]["zoo-model-read"]) == ("first", "m")
    assert [m["text"] for m in many.json()] == ["hello 0", "hello 1"]
    assert [m["text"] for m in talk.json()] == ["a", "b"]


async def test_error_of_a_worker_keeps_its_details_by_rest(shared):
    async with rest(shared) as http:
        answer = await http.post("/v1/toy:say", json={"model": "m"})
    assert answer.status_code == 400
    assert answer.json()["code"] == 3
    assert answer.json()["details"][0]["reason"] == "INPUT_EMPTY"


async def test_error_of_the_picker_keeps_its_details_by_stub(shared):
    async with channel(shared) as c:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await shared.stubs.rpc.ToyServiceStub(c).Say(say(shared), metadata=(("toy-refuse", "1"),))
    assert caught.value.code() is grpc.StatusCode.UNAUTHENTICATED
    status = status_pb2.Status.FromString(dict(caught.value.trailing_metadata())["grpc-status-details-bin"])
    info = error_details_pb2.ErrorInfo()
    assert status.details[0].Unpack(info)
    assert info.reason == "CREDENTIAL_INVALID"


async def test_error_of_the_picker_is_not_transcoded_so_the_picker_must_write_json(shared):
    async with rest(shared) as http:
        answer = await http.post("/v1/toy:say", json={"model": "m"}, headers={"toy-refuse": "1"})
    assert (answer.status_code, answer.headers["content-type"]) == (401, "text/plain")


async def test_rest_stream_that_fails_after_messages_looks_whole_but_for_its_last_message(shared):
    async with rest(shared) as http:
        body = {"model": "m", "text": "hello", "count": 3, "fail_after": 2}
        answer = await http.post("/v1/toy:streamSay", json=body)
    # Why a stream's last message must say that it is the last: the array is closed and the status was sent before.
    assert (answer.status_code, len(answer.json())) == (200, 2)


async def test_callers_own_routing_and_principal_headers_are_removed(shared):
    spoofed = (MODEL, ("x-gateway-destination-endpoint", shared.second.address), ("zoo-principal", "root"))
    async with channel(shared) as c:
        answer = await shared.stubs.rpc.ToyServiceStub(c).Say(say(shared), metadata=spoofed)
    assert (answer.worker, answer.headers["zoo-principal"]) == ("first", "picker")


@pytest.mark.parametrize("metadata", [(), (MODEL,)], ids=["model in body", "model in metadata"])
async def test_stream_goes_on_when_the_picker_is_killed(own, metadata):
    async with channel(own) as c:
        call = own.stubs.rpc.ToyServiceStub(c).StreamSay(say(own, count=30), metadata=metadata)
        messages = aiter(call)
        # Where it read the body, Envoy needs it until it has closed its stream, which is just after its answer.
        for _ in range(3):
            await anext(messages)
        own.picker.kill()
        rest_of_it = [m.text async for m in messages]
        assert (len(rest_of_it), await call.code()) == (27, grpc.StatusCode.OK)
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await own.stubs.rpc.ToyServiceStub(c).Say(say(own))
    assert caught.value.code() is grpc.StatusCode.UNAVAILABLE


async def test_stream_of_a_killed_worker_ends_with_an_error(own):
    async with channel(own) as c:
        call = own.stubs.rpc.ToyServiceStub(c).StreamSay(say(own, count=1000), metadata=(MODEL,))
        messages = aiter(call)
        await anext(messages)
        own.first.kill()
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            async for _ in messages:
                pass
    assert caught.value.code() in {grpc.StatusCode.INTERNAL, grpc.StatusCode.UNAVAILABLE}


async def test_rest_stream_of_a_killed_worker_breaks_off(own):
    async with rest(own) as http:
        body = {"model": "m", "text": "hello", "count": 1000}
        async with http.stream("POST", "/v1/toy:streamSay", json=body) as answer:
            chunks = answer.aiter_raw()
            await anext(chunks)
            own.first.kill()
            with pytest.raises(httpx.RemoteProtocolError):
                async for _ in chunks:
                    pass


@pytest.mark.parametrize("metadata", [(), (MODEL,)], ids=["model in body", "model in metadata"])
async def test_second_worker_of_the_list_answers_when_the_first_is_dead(own, metadata):
    own.first.kill()
    async with channel(own) as c:
        answer = await own.stubs.rpc.ToyServiceStub(c).Say(say(own), metadata=metadata)
    assert answer.worker == "second"


async def test_renamed_endpoints_file_is_picked_up_and_a_host_outside_it_is_never_called(own):
    own.serve_from(own.second.address)
    async with channel(own) as c:
        stub = own.stubs.rpc.ToyServiceStub(c)

        async def answered_by_second() -> bool:
            return (await stub.Say(say(own), metadata=(MODEL,))).worker == "second"

        assert await eventually(answered_by_second)
