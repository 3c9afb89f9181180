"""The log of changes: every write is in it, in order, with what was before and after, and no secret."""

from typing import Any

from sqlalchemy import select

from modelzoo.errors import AlreadyExists, NotFound
from support.catalog_service import CatalogService, refused
from zoo.catalog.v1 import catalog_service_pb2 as pb
from zoo.iam.v1 import iam_service_pb2 as iam_pb
from zoo_catalog.schema import changes
from zoo_server.principal import Role


async def log(zoo: CatalogService) -> list[Any]:
    async with zoo.database.read() as connection:
        return list((await connection.execute(select(changes).order_by(changes.c.sequence))).all())


async def test_every_write_is_recorded_once_in_order(zoo: CatalogService) -> None:
    [digest] = await zoo.published("team/bert")
    await zoo.admin.set_alias("team/bert", "prod", {1: 1})
    await zoo.admin.catalog.DeleteAlias(pb.DeleteAliasRequest(model="team/bert", alias="prod"))
    name = (await zoo.admin.iam.CreateKey(iam_pb.CreateKeyRequest(key={"subject": "app"}))).key.name
    for _ in range(2):
        await zoo.admin.iam.RevokeKey(iam_pb.RevokeKeyRequest(name=name))
        grant = {"subject": "app", "namespace": "team", "role": 1}
        await zoo.admin.iam.CreateGrant(iam_pb.CreateGrantRequest(grant=grant))
    await zoo.admin.iam.RevokeGrant(iam_pb.RevokeGrantRequest(subject="app", namespace="team"))
    rows = await log(zoo)
    assert [(row.action, row.resource) for row in rows] == [
        ("CreateNamespace", "team"),
        ("CreateGrant", "team:admin"),
        ("CreateModel", "team/bert"),
        ("CreateVersion", "team/bert@1"),
        ("SetAlias", "team/bert@prod"),
        ("DeleteAlias", "team/bert@prod"),
        ("CreateKey", name),
        ("RevokeKey", name),
        ("CreateGrant", "team:app"),
        ("RevokeGrant", "team:app"),
    ]
    assert [row.sequence for row in rows] == list(range(1, 11))
    assert rows[3].after == {"manifest_digest": digest, "state": "READY", "source": ""}


async def test_a_change_says_who_did_it_and_what_was_before(zoo: CatalogService) -> None:
    await zoo.published("team/bert", 2)
    await zoo.admin.set_alias("team/bert", "prod", {1: 1})
    mover = await zoo.caller("mover", {"team": Role.PUBLISHER})
    await mover.set_alias("Team/Bert", "prod", {1: 3, 2: 1})
    change = (await log(zoo))[-1]
    assert (change.actor, change.resource) == ("mover", "team/bert@prod")
    assert change.before == {"targets": [{"version": 1, "weight": 1}]}
    assert change.after == {"targets": [{"version": 1, "weight": 3}, {"version": 2, "weight": 1}]}


async def test_the_time_and_etag_of_a_write_are_those_of_its_change(zoo: CatalogService) -> None:
    await zoo.published("team/bert")
    alias = await zoo.admin.set_alias("team/bert", "prod", {1: 1})
    change = (await log(zoo))[-1]
    assert (alias.etag, alias.update_time.ToDatetime(change.time.tzinfo)) == (str(change.sequence), change.time)


async def test_what_is_refused_leaves_no_change(zoo: CatalogService) -> None:
    await zoo.published("team/bert")
    before = await log(zoo)
    with refused(AlreadyExists, "MODEL_EXISTS"):
        await zoo.admin.model("team/bert")
    with refused(NotFound, "VERSION_NOT_FOUND"):
        await zoo.admin.set_alias("team/bert", "prod", {7: 1})
    assert await log(zoo) == before
