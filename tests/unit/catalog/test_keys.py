"""Keys: secrets shown once, expiry, revoking, retries."""

import hashlib
import logging
import re
from datetime import UTC, datetime, timedelta

import pytest
from google.protobuf.timestamp_pb2 import Timestamp
from sqlalchemy import text

from modelzoo.errors import AlreadyExists, InvalidArgument, NotFound, PermissionDenied
from support.catalog_service import CatalogService, refused
from zoo.iam.v1 import iam_service_pb2 as pb
from zoo.iam.v1 import key_pb2
from zoo_catalog.keys import NewKey
from zoo_server.principal import Role


def new(subject: str = "team:search", request_id: str = "", **fields: object) -> pb.CreateKeyRequest:
    return pb.CreateKeyRequest(key=key_pb2.Key(subject=subject, **fields), request_id=request_id)  # type: ignore[arg-type]


async def listed(zoo: CatalogService) -> list[key_pb2.Key]:
    return list((await zoo.admin.iam.ListKeys(pb.ListKeysRequest())).keys)


async def test_a_secret_names_its_key_and_has_256_random_bits(zoo: CatalogService) -> None:
    made = [await zoo.admin.iam.CreateKey(new()) for _ in range(2)]
    for response in made:
        assert re.fullmatch(r"zoo_[0-9a-f]{16}_[A-Za-z0-9_-]{43}", response.secret)
        assert response.key.name == f"key_{response.secret[4:20]}"
    assert made[0].secret[21:] != made[1].secret[21:]


async def test_a_secret_is_stored_nowhere_and_logged_nowhere(
    zoo: CatalogService, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    secret = (await zoo.admin.iam.CreateKey(new())).secret
    async with zoo.database.read() as connection:
        for table in ("keys", "changes", "requests"):
            rows = (await connection.execute(text(f"SELECT * FROM {table}"))).all()
            assert secret[21:] not in repr(rows)
            assert table == "keys" or hashlib.sha256(secret.encode()).hexdigest() not in repr(rows)
    assert secret[21:] not in caplog.text
    assert secret[21:] not in repr(NewKey(None, secret))  # type: ignore[arg-type]


async def test_keys_are_listed_newest_first_without_secrets(zoo: CatalogService) -> None:
    made = [(await zoo.admin.iam.CreateKey(new(f"s{n}", description=f"d{n}"))).key for n in range(3)]
    assert await listed(zoo) == made[::-1]


async def test_a_retry_finds_the_key_but_not_its_secret(zoo: CatalogService) -> None:
    first = await zoo.admin.iam.CreateKey(new(request_id="r1"))
    again = await zoo.admin.iam.CreateKey(new(request_id="r1"))
    assert (again.key, again.secret) == (first.key, "")
    assert len(await listed(zoo)) == 1
    with refused(AlreadyExists, "REQUEST_ID_REUSED"):
        await zoo.admin.iam.CreateKey(new("other", request_id="r1"))


async def test_a_revoked_key_stays_revoked(zoo: CatalogService) -> None:
    name = (await zoo.admin.iam.CreateKey(new())).key.name
    first = (await zoo.admin.iam.RevokeKey(pb.RevokeKeyRequest(name=name))).key
    assert first.HasField("revoke_time")
    assert (await zoo.admin.iam.RevokeKey(pb.RevokeKeyRequest(name=name))).key == first
    assert await listed(zoo) == [first]


async def test_an_unknown_key_cannot_be_revoked(zoo: CatalogService) -> None:
    with refused(NotFound, "KEY_NOT_FOUND"):
        await zoo.admin.iam.RevokeKey(pb.RevokeKeyRequest(name="key_0123456789abcdef"))
    with refused(InvalidArgument, "FIELD_INVALID"):
        await zoo.admin.iam.RevokeKey(pb.RevokeKeyRequest(name="key_1"))


async def test_an_expiry_comes_back_as_it_was_asked(zoo: CatalogService) -> None:
    expire_time = Timestamp()
    expire_time.FromDatetime(datetime.now(UTC) + timedelta(days=1))
    assert (await zoo.admin.iam.CreateKey(new(expire_time=expire_time))).key.expire_time == expire_time


@pytest.mark.parametrize("seconds", [0, 1_000_000_000, -(10**15), 10**15])
async def test_an_expiry_that_has_passed_or_is_no_time_is_refused(zoo: CatalogService, seconds: int) -> None:
    with refused(InvalidArgument, "FIELD_INVALID"):
        await zoo.admin.iam.CreateKey(new(expire_time=Timestamp(seconds=seconds)))
    assert await listed(zoo) == []


@pytest.mark.parametrize("subject", ["", " ", "a b", "-x", "x" * 129, "a\n"])
async def test_a_subject_that_is_none_is_refused(zoo: CatalogService, subject: str) -> None:
    with refused(InvalidArgument, "FIELD_INVALID"):
        await zoo.admin.iam.CreateKey(new(subject))


async def test_keys_are_for_the_clusters_admins_alone(zoo: CatalogService) -> None:
    await zoo.namespace("team")
    for roles in ({"team": Role.ADMIN}, {"*": Role.TRAINER}, {}):
        caller = await zoo.caller("lead", roles)
        for attempt in (
            caller.iam.CreateKey(new()),
            caller.iam.ListKeys(pb.ListKeysRequest()),
            caller.iam.RevokeKey(pb.RevokeKeyRequest(name="key_0123456789abcdef")),
        ):
            with refused(PermissionDenied, "ROLE_MISSING"):
                await attempt
