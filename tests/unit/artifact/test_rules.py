"""Who may call what: every method with too low a role, and with a role elsewhere."""

from collections.abc import Awaitable, Callable

import pytest

from support.artifact_server import ArtifactServer, Caller, manifest_of, refusal
from zoo.artifact.v1 import artifact_service_pb2 as pb
from zoo_artifact.rules import RULES, SERVICE
from zoo_server.principal import Role

DIGEST = "0" * 64
PIN = pb.PinRequest(namespace="team", manifest_digest=DIGEST, holder="me")

WRITES: dict[str, Callable[[Caller], Awaitable[object]]] = {
    "FindMissingBlobs": lambda caller: caller.find_missing([DIGEST]),
    "WriteBlobs": lambda caller: caller.write(b"1"),
    "SignWrites": lambda caller: caller.sign_writes(b"1"),
    "CommitBlobs": lambda caller: caller.commit({b"1": b""}),
    "PutManifest": lambda caller: caller.put(manifest_of({"a": b"1"})),
    "Pin": lambda caller: caller.pin(PIN),
    "Unpin": lambda caller: caller.unpin(DIGEST, "me"),
    "GetNamespacePolicy": lambda caller: caller.allows_opaque(),
}
READS: dict[str, Callable[[Caller], Awaitable[object]]] = {
    "GetManifest": lambda caller: caller.get(DIGEST),
    "ReadFile": lambda caller: caller.read(DIGEST, "a"),
    "SignReads": lambda caller: caller.sign_reads(DIGEST, b"1"),
}


# For admins of the namespace.
DECIDES: dict[str, Callable[[Caller], Awaitable[object]]] = {
    "QuarantineManifest": lambda caller: caller.quarantine(DIGEST),
    "ReleaseManifest": lambda caller: caller.release(DIGEST),
    "SetNamespacePolicy": lambda caller: caller.allow_opaque(),
}


def test_every_method_is_tried_below() -> None:
    assert {f"/{SERVICE}/{method}" for method in WRITES | READS | DECIDES} == set(RULES)


@pytest.mark.parametrize("method", DECIDES)
@pytest.mark.parametrize("roles", [{}, {"team": Role.TRAINER}, {"other": Role.ADMIN}])
async def test_deciding_needs_an_admin_of_the_namespace(
    server: ArtifactServer, method: str, roles: dict[str, Role]
) -> None:
    assert await refusal(DECIDES[method](server.caller(roles))) == ("PERMISSION_DENIED", "ROLE_MISSING")


@pytest.mark.parametrize("method", WRITES)
@pytest.mark.parametrize("roles", [{}, {"team": Role.INVOKER}, {"other": Role.ADMIN}])
async def test_writing_needs_a_publisher_of_the_namespace(
    server: ArtifactServer, method: str, roles: dict[str, Role]
) -> None:
    assert await refusal(WRITES[method](server.caller(roles))) == ("PERMISSION_DENIED", "ROLE_MISSING")


@pytest.mark.parametrize("method", READS)
@pytest.mark.parametrize("roles", [{}, {"other": Role.ADMIN}])
async def test_reading_without_a_role_is_not_found(server: ArtifactServer, method: str, roles: dict[str, Role]) -> None:
    assert await refusal(READS[method](server.caller(roles))) == ("NOT_FOUND", "MANIFEST_NOT_FOUND")


@pytest.mark.parametrize("method", WRITES | READS | DECIDES)
async def test_without_a_principal_nothing_is_done(server: ArtifactServer, method: str) -> None:
    nobody = Caller(server.channel, server.streams, "")
    assert await refusal((WRITES | READS | DECIDES)[method](nobody)) == ("UNAUTHENTICATED", "CREDENTIAL_MISSING")
