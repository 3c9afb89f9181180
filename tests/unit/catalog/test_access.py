"""Snapshots of keys and grants for gateways: at once, after every change, and not for ever."""

import asyncio
import hashlib
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import update

from modelzoo.errors import PermissionDenied, Unavailable
from support.catalog_service import CatalogService, refused
from zoo.iam.v1 import iam_service_pb2 as pb
from zoo.iam.v1 import key_pb2
from zoo_catalog.schema import keys
from zoo_server.principal import Role


def key(subject: str) -> pb.CreateKeyRequest:
    return pb.CreateKeyRequest(key=key_pb2.Key(subject=subject))


@pytest.fixture
def watch(zoo: CatalogService):
    call = zoo.admin.iam.WatchAccess(pb.WatchAccessRequest())
    yield call
    call.cancel()


async def test_the_whole_state_comes_at_once(zoo: CatalogService) -> None:
    secret = (await zoo.admin.iam.CreateKey(key("app"))).secret
    await zoo.namespace("team")
    watch = zoo.admin.iam.WatchAccess(pb.WatchAccessRequest())
    snapshot = await watch.read()
    [state] = snapshot.keys
    assert (state.subject, state.secret_sha256) == ("app", hashlib.sha256(secret.encode()).digest())
    assert [(grant.subject, grant.namespace) for grant in snapshot.grants] == [("admin", "team")]
    watch.cancel()


async def test_every_kind_of_change_makes_a_snapshot(zoo: CatalogService, watch) -> None:
    await watch.read()
    name = (await zoo.admin.iam.CreateKey(key("app"))).key.name
    assert [state.name for state in (await watch.read()).keys] == [name]
    await zoo.admin.iam.RevokeKey(pb.RevokeKeyRequest(name=name))
    assert (await watch.read()).keys[0].HasField("revoke_time")
    await zoo.namespace("team")
    assert len((await watch.read()).grants) == 1
    grant = key_pb2.Grant(subject="app", namespace="team", role=key_pb2.ROLE_VIEWER)
    await zoo.admin.iam.CreateGrant(pb.CreateGrantRequest(grant=grant))
    assert len((await watch.read()).grants) == 2
    await zoo.admin.iam.RevokeGrant(pb.RevokeGrantRequest(namespace="team", subject="app"))
    assert len((await watch.read()).grants) == 1


async def test_many_changes_at_once_end_in_a_snapshot_that_has_them_all(zoo: CatalogService, watch) -> None:
    await watch.read()
    await asyncio.gather(*(zoo.admin.iam.CreateKey(key(f"s{n}")) for n in range(20)))
    seen = 0
    while seen < 20:
        seen = len((await asyncio.wait_for(watch.read(), 30)).keys)


async def test_a_key_revoked_long_ago_is_left_out(zoo: CatalogService) -> None:
    name = (await zoo.admin.iam.CreateKey(key("app"))).key.name
    await zoo.admin.iam.RevokeKey(pb.RevokeKeyRequest(name=name))
    for seconds, shown in ((86_000, 1), (86_500, 0)):
        async with zoo.database.write() as connection:
            revoke_time = datetime.now(UTC) - timedelta(seconds=seconds)
            await connection.execute(update(keys).values(revoke_time=revoke_time))
        watch = zoo.admin.iam.WatchAccess(pb.WatchAccessRequest())
        assert len((await watch.read()).keys) == shown
        watch.cancel()


async def test_only_an_admin_of_the_cluster_watches(zoo: CatalogService) -> None:
    caller = await zoo.caller("lead", {"team": Role.ADMIN, "*": Role.TRAINER})
    with refused(PermissionDenied, "ROLE_MISSING"):
        await caller.iam.WatchAccess(pb.WatchAccessRequest()).read()


async def test_a_watch_ends_when_the_server_drains(zoo: CatalogService, watch) -> None:
    await watch.read()
    await zoo.feed.close()
    with refused(Unavailable, "DRAINING"):
        await watch.read()
