"""The process `zoo-envoy`: it renders, starts and drains a real Envoy."""

import asyncio
import os
import signal
import socket
import subprocess
import sys
import urllib.request
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

import grpc
import pytest
from grpc_health.v1 import health_pb2 as pb
from grpc_health.v1 import health_pb2_grpc as rpc

from support.waiting import eventually
from zoo_server.health import HealthServicer


@dataclass(frozen=True, slots=True)
class Running:
    process: "subprocess.Popen[bytes]"
    listen: str
    admin: int
    log: Path


@dataclass(frozen=True, slots=True)
class Gateway:
    """What stands behind Envoy."""

    address: str
    health: HealthServicer


@pytest.fixture
async def gateway() -> AsyncIterator[Gateway]:
    server, health = grpc.aio.server(), HealthServicer()
    rpc.add_HealthServicer_to_server(health, server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    health.serve(())
    yield Gateway(f"127.0.0.1:{port}", health)
    await server.stop(0)


async def test_envoy_serves_with_a_rendered_configuration_and_ends_at_a_signal(tmp_path: Path) -> None:
    with zoo_envoy(tmp_path, gateway="127.0.0.1:1") as envoy:
        await serving(envoy)
        assert (tmp_path / "workers.json").exists()
        envoy.process.send_signal(signal.SIGTERM)
        assert await asyncio.to_thread(envoy.process.wait, 20) == 0
        assert not await ready(envoy.admin)


async def test_after_a_signal_new_callers_are_refused_and_a_running_stream_ends_by_itself(
    tmp_path: Path, gateway: Gateway
) -> None:
    with zoo_envoy(tmp_path, gateway.address) as envoy:
        await serving(envoy)
        async with grpc.aio.insecure_channel(envoy.listen) as channel:
            stream = rpc.HealthStub(channel).Watch(pb.HealthCheckRequest(), timeout=60)
            assert (await stream.read()).status == pb.HealthCheckResponse.SERVING
            envoy.process.send_signal(signal.SIGTERM)
            await eventually(lambda: refuses_connections(envoy.listen), within_s=20)
            gateway.health.drain()
            assert (await stream.read()).status == pb.HealthCheckResponse.NOT_SERVING
            assert await stream.read() is grpc.aio.EOF
        assert await asyncio.to_thread(envoy.process.wait, 20) == 0


@contextmanager
def zoo_envoy(folder: Path, gateway: str) -> Iterator[Running]:
    admin, listen = free_port(), f"127.0.0.1:{free_port()}"
    settings = {
        "ZOO_BINARY": str(resources.files("envoy") / "_bin" / "envoy"),
        "ZOO_CONFIG_DIR": str(folder),
        "ZOO_ENDPOINTS_DIR": str(folder),
        "ZOO_LISTEN": listen,
        "ZOO_ADMIN": f"127.0.0.1:{admin}",
        "ZOO_GATEWAY": gateway,
        "ZOO_CATALOG": "127.0.0.1:1",
        "ZOO_ARTIFACT": "127.0.0.1:1",
        "ZOO_TRAINING": "127.0.0.1:1",
        # Longer than any test here waits: whoever ends before has nothing left to carry.
        "ZOO_DRAIN_S": "120",
    }
    argv = [sys.executable, "-m", "zoo_gateway.envoy_process"]
    log = folder / "log"
    with log.open("wb") as out:
        process = subprocess.Popen(argv, env={**os.environ, **settings}, stdout=out, stderr=out)
    try:
        yield Running(process, listen, admin, log)
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as found:
        return found.getsockname()[1]


async def serving(envoy: Running) -> None:
    async def ready_or_gone() -> bool:
        return envoy.process.poll() is not None or await ready(envoy.admin)

    await eventually(ready_or_gone, within_s=30)
    assert envoy.process.poll() is None, envoy.log.read_text()[-2000:]


async def ready(admin: int) -> bool:
    def ask() -> bool:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{admin}/ready", timeout=2) as answer:
                return answer.status == 200
        except OSError:
            return False

    return await asyncio.to_thread(ask)


async def refuses_connections(address: str) -> bool:
    host, _, port = address.rpartition(":")
    try:
        _, writer = await asyncio.open_connection(host, int(port))
    except ConnectionRefusedError:
        return True
    writer.close()
    return False
