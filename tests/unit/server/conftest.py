"""A server of zoo_server around the toy."""

from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import grpc
import pytest

from support.toy_artifact import METHODS, SERVICE, Running, Toy
from zoo.artifact.v1 import artifact_service_pb2_grpc as rpc
from zoo_server.authorization import Needs, Open, Rules
from zoo_server.principal import Role, TrustedKey, Verifier, create_signer
from zoo_server.server import build
from zoo_server.settings import ServerSettings


@pytest.fixture
def rules() -> Rules:
    needs = Needs(Role.VIEWER, lambda message: (message.namespace,))
    of_header = Needs(Role.PUBLISHER, lambda message: (message.header.namespace,) if message.HasField("header") else ())
    return {f"/{SERVICE}/{name}": of_header if name == "WriteBlobs" else needs for name in METHODS} | {
        f"/{SERVICE}/Unpin": Open.TO_AUTHENTICATED
    }


@pytest.fixture
def settings(tmp_path: Path) -> ServerSettings:
    return ServerSettings(trust=tmp_path / "unused", drain_s=5)


@pytest.fixture
async def start(settings: ServerSettings, rules: Rules) -> AsyncIterator[Callable[[], Any]]:
    """Starts servers that end with the test."""
    async with AsyncExitStack() as stack:

        async def start() -> Running:
            gateway, toy = create_signer("gateway"), Toy()
            server = build(settings, rules, Verifier([TrustedKey("gateway", gateway.public_key(), None)]))
            rpc.add_ArtifactServiceServicer_to_server(toy, server.grpc)
            await server.start((SERVICE,))
            stack.push_async_callback(server.grpc.stop, None)
            channel = grpc.aio.insecure_channel(f"127.0.0.1:{server.port}")
            await stack.enter_async_context(channel)
            return Running(server, toy, gateway, channel)

        yield start


@pytest.fixture
async def running(start: Callable[[], Any]) -> Running:
    return await start()
