"""Calls to a toy zoo's gateway, by gRPC and by REST."""

import json

import grpc
import httpx
import pytest

from modelzoo.errors import ZooError, from_rpc_error
from support.toy_zoo import ToyZoo
from support.waiting import eventually
from zoo.inference.v1 import generation_pb2
from zoo.inference.v1 import inference_service_pb2 as pb
from zoo.inference.v1 import inference_service_pb2_grpc as rpc

EMBED = pb.EmbedRequest(model="ns/two", texts=["a"])


async def known(zoo: ToyZoo, key: str) -> None:
    """Return once the gateway knows the key."""
    async with rest(zoo, key) as http:
        await eventually(lambda: answers(http))


async def answers(http: httpx.AsyncClient) -> bool:
    return (await http.get("/v1/principal")).status_code == 200


def rest(zoo: ToyZoo, key: str = "") -> httpx.AsyncClient:
    headers = {"authorization": f"Bearer {key}"} if key else {}
    return httpx.AsyncClient(base_url=f"http://{zoo.address}", headers=headers, timeout=20)


def channel(zoo: ToyZoo) -> grpc.aio.Channel:
    return grpc.aio.insecure_channel(zoo.address, options=[("grpc.max_send_message_length", -1)])


def bearer(key: str, *more: tuple[str, str]) -> tuple[tuple[str, str], ...]:
    return (("authorization", f"Bearer {key}"), *more)


async def embed(zoo: ToyZoo, *metadata: tuple[str, str], request: pb.EmbedRequest = EMBED) -> dict:
    """Which worker answered and what it saw; a ZooError where the call failed."""
    async with channel(zoo) as c:
        try:
            answer = await rpc.InferenceServiceStub(c).Embed(request, metadata=metadata, timeout=20)
        except grpc.aio.AioRpcError as error:
            raise from_rpc_error(error) from error
    return json.loads(answer.reference)


async def error_of(zoo: ToyZoo, *metadata: tuple[str, str], request: pb.EmbedRequest = EMBED) -> ZooError:
    with pytest.raises(ZooError) as caught:
        await embed(zoo, *metadata, request=request)
    return caught.value


def generation(pieces: int, prompt: str = "go on") -> pb.StreamGenerateRequest:
    given = generation_pb2.GenerationInput(prompt=prompt, max_tokens=pieces)
    return pb.StreamGenerateRequest(model="ns/two", input=given)
