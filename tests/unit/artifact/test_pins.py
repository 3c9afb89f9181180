"""Pin and Unpin: holders keep manifests; nobody ends another's pin."""

from datetime import UTC, datetime

from google.protobuf.timestamp_pb2 import Timestamp
from sqlalchemy import select

from support.artifact_server import ArtifactServer, Caller, refusal
from zoo.artifact.v1 import artifact_service_pb2 as pb
from zoo_artifact.schema import pins

HOLDER = "catalog:team/model@7"


def pin(digest: str, expire_time: Timestamp | None = None, holder: str = HOLDER) -> pb.PinRequest:
    return pb.PinRequest(namespace="team", manifest_digest=digest, holder=holder, expire_time=expire_time)


async def held(server: ArtifactServer) -> dict[tuple[str, str], datetime | None]:
    """Expiry by subject and holder, without the pins that a put makes."""
    async with server.database.read() as connection:
        rows = await connection.execute(select(pins).where(pins.c.holder != "put"))
        return {(row.subject, row.holder): row.expire_time for row in rows}


async def test_pinning_again_moves_the_expiry(server: ArtifactServer, team: Caller) -> None:
    digest = await team.push({"a": b"1"})
    await team.pin(pin(digest, Timestamp(seconds=2_000_000_000, nanos=5000)))
    assert await held(server) == {("user:ann", HOLDER): datetime(2033, 5, 18, 3, 33, 20, 5, tzinfo=UTC)}
    await team.pin(pin(digest))
    assert await held(server) == {("user:ann", HOLDER): None}


async def test_unpinning_ends_the_pin_and_twice_is_no_error(server: ArtifactServer, team: Caller) -> None:
    digest = await team.push({"a": b"1"})
    await team.pin(pin(digest))
    await team.pin(pin(digest, holder="other"))
    await team.unpin(digest, HOLDER)
    await team.unpin(digest, HOLDER)
    await team.unpin("0" * 64, HOLDER)
    assert await held(server) == {("user:ann", "other"): None}


async def test_nobody_ends_the_pin_of_another(server: ArtifactServer, team: Caller) -> None:
    digest = await team.push({"a": b"1"})
    catalog = server.caller(subject="service:catalog")
    await catalog.pin(pin(digest))
    await team.pin(pin(digest))
    await team.unpin(digest, HOLDER)
    assert await held(server) == {("service:catalog", HOLDER): None}


async def test_a_manifest_that_is_not_there_cannot_be_pinned(server: ArtifactServer, team: Caller) -> None:
    assert await refusal(team.pin(pin("0" * 64))) == ("NOT_FOUND", "MANIFEST_NOT_FOUND")
    assert await held(server) == {}


async def test_a_time_that_no_calendar_has_is_refused(team: Caller) -> None:
    digest = await team.push({"a": b"1"})
    far = Timestamp(seconds=10**15)
    assert await refusal(team.pin(pin(digest, far))) == ("INVALID_ARGUMENT", "FIELD_INVALID")
