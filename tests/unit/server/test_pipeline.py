"""What happens to every call around its servicer: errors, request ids, deadlines, limits, roles."""

import asyncio
import logging
import re
from collections.abc import Callable
from typing import Any

import grpc
import pytest
from google.rpc import error_details_pb2, status_pb2

from modelzoo.errors import (
    Internal,
    InvalidArgument,
    NotFound,
    PermissionDenied,
    Unauthenticated,
    Unavailable,
    Unimplemented,
)
from support.catalog_service import refused
from support.toy_artifact import SERVICE, Running, file, manifest
from zoo.artifact.v1 import artifact_service_pb2 as pb
from zoo_server.principal import Principal, Role


async def test_an_error_travels_with_its_reason_metadata_and_delay(running: Running) -> None:
    running.toy.raising = NotFound("MODEL_NOT_FOUND", "there is no such model", metadata={"a": "b"}, retry_after_s=1.5)
    with refused(NotFound, "MODEL_NOT_FOUND") as refusal:
        await running.stub.GetManifest(manifest(), metadata=running.metadata())
    assert refusal.error is not None
    assert (refusal.message, refusal.metadata) == ("there is no such model", {"a": "b"})
    assert refusal.error.retry_after_s == 1.5


async def test_an_unexpected_error_shows_nothing_and_is_logged_under_its_request_id(
    running: Running, caplog: pytest.LogCaptureFixture
) -> None:
    running.toy.raising = RuntimeError("password is hunter2")
    for call in (running.stub.GetManifest(manifest(), metadata=running.metadata()),):
        with refused(Internal, "INTERNAL") as refusal:
            await call
        assert "hunter2" not in refusal.message
    with refused(Internal, "INTERNAL") as refusal:
        async for _ in running.stub.ReadFile(file(), metadata=running.metadata()):
            pass
    assert "hunter2" not in refusal.message
    assert caplog.text.count("hunter2") == 2


async def test_an_error_in_mid_stream_ends_it_with_its_status(running: Running) -> None:
    running.toy.raising = Unavailable("STORAGE_UNAVAILABLE", "the object store does not answer")
    call = running.stub.ReadFile(file(), metadata=running.metadata())
    assert (await call.read()).chunk == b"first"
    with refused(Unavailable, "STORAGE_UNAVAILABLE"):
        await call.read()


async def test_a_field_over_its_limit_is_named(running: Running) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await running.stub.GetManifest(manifest("x" * 97), metadata=running.metadata())
    status = status_pb2.Status.FromString(dict(caught.value.trailing_metadata())["grpc-status-details-bin"])
    bad = error_details_pb2.BadRequest()
    assert any(detail.Unpack(bad) for detail in status.details)
    assert bad.field_violations[0].field == "namespace"
    assert "97 characters; at most 96" in status.message
    assert running.toy.saw == []


async def test_every_message_of_a_stream_is_checked(running: Running) -> None:
    def header(namespace: str) -> pb.WriteBlobsRequest:
        return pb.WriteBlobsRequest(header=pb.WriteBlobsHeader(namespace=namespace))

    principal = Principal("app", {"mine": Role.PUBLISHER})
    for second, kind, reason in (
        (header("other"), PermissionDenied, "ROLE_MISSING"),
        (header("x" * 97), InvalidArgument, "FIELD_INVALID"),
    ):
        call = running.stub.WriteBlobs(metadata=running.metadata(principal))
        await call.write(header("mine"))
        assert (await call.read()).digest == "mine"
        await call.write(second)
        with refused(kind, reason):
            await call.read()
    assert [message.header.namespace for message in running.toy.saw] == ["mine", "mine"]


@pytest.mark.parametrize("token", ["", "x", "a.b.c"])
async def test_without_a_valid_principal_no_method_serves(running: Running, token: str) -> None:
    metadata = (("zoo-principal", token),) if token else ()
    reason = "CREDENTIAL_INVALID" if token else "CREDENTIAL_MISSING"
    with refused(Unauthenticated, reason):
        await running.stub.GetManifest(manifest(), metadata=metadata)
    with refused(Unauthenticated, reason):
        await running.stub.ReadFile(file(), metadata=metadata).read()
    with refused(Unauthenticated, reason):
        await running.stub.WriteBlobs(metadata=metadata).read()
    assert running.toy.saw == []


async def test_limits_are_looked_at_before_roles_and_both_before_the_servicer(running: Running) -> None:
    nobody = running.metadata(Principal("nobody"))
    with refused(InvalidArgument, "FIELD_INVALID"):
        await running.stub.GetManifest(manifest(""), metadata=nobody)
    with refused(PermissionDenied, "ROLE_MISSING") as refusal:
        await running.stub.GetManifest(manifest(), metadata=nobody)
    assert refusal.metadata == {"namespace": "team", "role": "viewer"}
    assert running.toy.saw == []


async def test_the_callers_request_id_is_kept_where_it_is_harmless(running: Running) -> None:
    for given, kept in (("abc-123", True), ("a" * 64, True), ("a" * 65, False), ("a b", False), ("a/b", False)):
        metadata = (*running.metadata(), ("x-request-id", given))
        await running.stub.GetManifest(manifest(), metadata=metadata)
        call = running.toy.saw.pop()[0]
        assert (call.request_id == given) is kept
        assert re.fullmatch(r"[A-Za-z0-9-]{1,64}", call.request_id)


async def test_calls_without_a_request_id_get_different_ones(running: Running) -> None:
    for _ in range(2):
        await running.stub.GetManifest(manifest(), metadata=running.metadata())
    assert len({call.request_id for call, _, _ in running.toy.saw}) == 2


async def test_the_servicer_knows_its_caller_and_the_time_left(running: Running) -> None:
    app = Principal("team:app", {"Team": Role.VIEWER})
    await running.stub.GetManifest(manifest(), metadata=running.metadata(app), timeout=7)
    await running.stub.GetManifest(manifest(), metadata=running.metadata(app))
    (call, principal, left), (_, _, without) = running.toy.saw
    assert (principal, call.method) == (app, f"/{SERVICE}/GetManifest")
    assert 5 < left < 7.1
    assert without == 30


async def test_concurrent_calls_do_not_see_each_others_principals(running: Running) -> None:
    principals = [Principal(f"s{n}", {"*": Role.VIEWER}) for n in range(20)]
    await asyncio.gather(
        *(running.stub.GetManifest(manifest(), metadata=running.metadata(principal)) for principal in principals)
    )
    assert sorted(principal.subject for _, principal, _ in running.toy.saw) == sorted(p.subject for p in principals)


@pytest.mark.parametrize("kind", ["unary", "stream"])
async def test_a_call_that_its_caller_gives_up_is_cancelled(running: Running, kind: str) -> None:
    timing: dict[str, Any] = {"metadata": running.metadata(), "timeout": 0.3}
    if kind == "unary":
        answer = running.stub.GetManifest(manifest("wait"), **timing)
    else:
        stream = running.stub.ReadFile(file("wait"), **timing)
        assert (await stream.read()).chunk == b"first"
        answer = stream.read()
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await answer
    assert caught.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
    await asyncio.wait_for(running.toy.cancelled.wait(), 30)


async def test_bytes_that_are_no_message_are_the_callers_fault(
    running: Running, caplog: pytest.LogCaptureFixture
) -> None:
    lone_surrogate = b"\x0a\x03\xed\xa0\x80"
    for data in (lone_surrogate, b"\xff\xff\xff", b"\x0a\x7fx"):
        call = running.channel.unary_unary(f"/{SERVICE}/GetManifest")
        with refused(InvalidArgument, "FIELD_INVALID"):
            await call(data, metadata=running.metadata())
        stream = running.channel.stream_stream(f"/{SERVICE}/WriteBlobs")(metadata=running.metadata())
        await stream.write(data)
        with refused(InvalidArgument, "FIELD_INVALID"):
            await stream.read()
    assert [record for record in caplog.records if record.levelno >= logging.ERROR] == []


async def test_a_method_that_does_not_exist_is_unimplemented(running: Running) -> None:
    for path in (f"/{SERVICE}/Nothing", "/no.Service/Method"):
        with refused(Unimplemented, "METHOD_UNKNOWN"):
            await running.channel.unary_unary(path)(b"", metadata=running.metadata())


async def test_a_method_of_the_protos_that_the_servicer_lacks_is_unimplemented(running: Running) -> None:
    request = pb.UnpinRequest(namespace="team", manifest_digest="0" * 64, holder="a")
    with refused(Unimplemented, "METHOD_UNKNOWN"):
        await running.stub.Unpin(request, metadata=running.metadata())


async def test_a_method_without_a_rule_is_refused_at_the_start(rules: dict[str, Any], start: Callable[[], Any]) -> None:
    del rules[f"/{SERVICE}/Pin"]
    with pytest.raises(RuntimeError, match=f"/{SERVICE}/Pin"):
        await start()
