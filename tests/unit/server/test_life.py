"""Start, health, reflection and drain."""

import asyncio
from collections.abc import Callable
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from support.toy_artifact import SERVICE, Running, file, manifest
from support.waiting import eventually
from zoo_server.authorization import Rules
from zoo_server.principal import Verifier, create_signer
from zoo_server.server import build
from zoo_server.settings import ServerSettings

SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING


async def test_health_and_reflection_need_no_credential(running: Running) -> None:
    health = health_pb2_grpc.HealthStub(running.channel)
    for name in ("", SERVICE):
        assert (await health.Check(health_pb2.HealthCheckRequest(service=name))).status == SERVING
    reflection = reflection_pb2_grpc.ServerReflectionStub(running.channel)
    call = reflection.ServerReflectionInfo(iter([reflection_pb2.ServerReflectionRequest(list_services="")]))
    names = [service.name for service in (await call.read()).list_services_response.service]
    assert {SERVICE, "grpc.health.v1.Health"} <= set(names)


async def test_an_address_that_is_taken_is_refused(running: Running, settings: ServerSettings) -> None:
    taken = settings.model_copy(update={"listen": f"127.0.0.1:{running.server.port}"})
    with pytest.raises(RuntimeError):
        await build(taken, {}, Verifier([])).start(())


async def test_a_method_without_an_authorisation_rule_is_refused_at_start(
    settings: ServerSettings, rules: Rules
) -> None:
    fewer = {method: rule for method, rule in rules.items() if not method.endswith("/Unpin")}
    with pytest.raises(RuntimeError, match=rf"without an authorisation rule: /{SERVICE}/Unpin$"):
        await build(settings, fewer, Verifier([])).start((SERVICE,))


async def test_draining_finishes_calls_in_flight_and_takes_no_new_ones(running: Running) -> None:
    unary = running.stub.GetManifest(manifest("wait"), metadata=running.metadata())
    stream = running.stub.ReadFile(file("wait"), metadata=running.metadata())
    assert (await stream.read()).chunk == b"first"
    await eventually(lambda: _is(running.toy.saw))
    draining = asyncio.create_task(running.server.drain())

    async def refuses_new_calls() -> bool:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await running.stub.GetManifest(manifest(), metadata=running.metadata(), timeout=5)
        return caught.value.code() is grpc.StatusCode.UNAVAILABLE

    await eventually(refuses_new_calls)
    assert not draining.done()
    running.toy.finish.set()
    assert (await unary).manifest == b"done"
    assert (await stream.read()).chunk == b"last"
    await asyncio.wait_for(draining, 30)


async def test_draining_ends_calls_that_take_too_long(settings: ServerSettings, start: Callable[[], Any]) -> None:
    settings.drain_s = 0.2
    running = await start()
    call = running.stub.GetManifest(manifest("wait"), metadata=running.metadata())
    await eventually(lambda: _is(running.toy.saw))
    await asyncio.wait_for(running.server.drain(), 30)
    with pytest.raises(grpc.aio.AioRpcError):
        await call
    await asyncio.wait_for(running.toy.cancelled.wait(), 30)


async def test_who_watches_health_learns_of_the_drain_and_does_not_hold_it_up(running: Running) -> None:
    watch = health_pb2_grpc.HealthStub(running.channel).Watch(health_pb2.HealthCheckRequest())
    assert (await watch.read()).status == SERVING
    draining = asyncio.create_task(running.server.drain())
    assert (await watch.read()).status == NOT_SERVING
    await asyncio.wait_for(draining, 4)


async def test_more_calls_than_allowed_are_refused(settings: ServerSettings, start: Callable[[], Any]) -> None:
    settings.concurrent_calls = 2
    running = await start()
    waiting = [running.stub.GetManifest(manifest("wait"), metadata=running.metadata()) for _ in range(2)]
    await eventually(lambda: _is(len(running.toy.saw) == 2))
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await running.stub.GetManifest(manifest(), metadata=running.metadata())
    assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    running.toy.finish.set()
    await asyncio.gather(*waiting)


async def test_a_message_over_the_limit_is_refused_and_the_server_lives(
    settings: ServerSettings, start: Callable[[], Any]
) -> None:
    settings.message_bytes = 100_000
    running = await start()
    path = f"/{SERVICE}/GetManifest"
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await running.channel.unary_unary(path)(bytes(100_001), metadata=running.metadata())
    assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    await running.stub.GetManifest(manifest(), metadata=running.metadata())


async def _is(value: object) -> bool:
    return bool(value)


def test_an_identity_file_can_be_read_by_its_owner_alone(tmp_path) -> None:
    path = tmp_path / "identity"
    path.write_text("")
    path.chmod(0o644)
    create_signer("worker").save(path)
    assert path.stat().st_mode & 0o777 == 0o600
