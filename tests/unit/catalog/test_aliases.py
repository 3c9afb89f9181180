"""Aliases: moving them, etags, names, targets."""

import asyncio

import pytest
from sqlalchemy import update

from modelzoo.errors import Aborted, FailedPrecondition, InvalidArgument, NotFound, PermissionDenied, ZooError
from support.catalog_service import CatalogService, refused
from zoo.catalog.v1 import catalog_service_pb2 as pb
from zoo.catalog.v1 import model_pb2
from zoo_catalog.schema import versions
from zoo_server.principal import Role


async def get(zoo: CatalogService, name: str) -> model_pb2.Alias:
    return (await zoo.admin.catalog.GetAlias(pb.GetAliasRequest(model="team/bert", alias=name))).alias


async def delete(zoo: CatalogService, name: str, etag: str = "") -> None:
    await zoo.admin.catalog.DeleteAlias(pb.DeleteAliasRequest(model="team/bert", alias=name, etag=etag))


async def test_an_alias_moves_and_its_etag_with_it(zoo: CatalogService) -> None:
    await zoo.published("team/bert", 2)
    made = await zoo.admin.set_alias("TEAM/bert", "prod", {1: 0})
    assert (made.model, made.targets[0].version, made.targets[0].weight) == ("team/bert", 1, 1)
    moved = await zoo.admin.set_alias("team/bert", "prod", {2: 5}, made.etag)
    assert moved.etag != made.etag
    assert await get(zoo, "prod") == moved


async def test_an_old_etag_is_refused_and_told_the_current_one(zoo: CatalogService) -> None:
    await zoo.published("team/bert", 2)
    made = await zoo.admin.set_alias("team/bert", "prod", {1: 1})
    moved = await zoo.admin.set_alias("team/bert", "prod", {2: 1})
    with refused(Aborted, "ETAG_MISMATCH") as refusal:
        await zoo.admin.set_alias("team/bert", "prod", {1: 1}, made.etag)
    assert refusal.metadata == {"etag": moved.etag}
    assert await get(zoo, "prod") == moved


async def test_absent_only_makes_an_alias(zoo: CatalogService) -> None:
    await zoo.published("team/bert")
    made = await zoo.admin.set_alias("team/bert", "prod", {1: 1}, "absent")
    with refused(Aborted, "ETAG_MISMATCH") as refusal:
        await zoo.admin.set_alias("team/bert", "prod", {1: 1}, "absent")
    assert refusal.metadata == {"etag": made.etag}


async def test_an_etag_of_an_alias_that_is_gone_is_refused(zoo: CatalogService) -> None:
    await zoo.published("team/bert")
    made = await zoo.admin.set_alias("team/bert", "prod", {1: 1})
    await delete(zoo, "prod")
    with refused(Aborted, "ETAG_MISMATCH") as refusal:
        await zoo.admin.set_alias("team/bert", "prod", {1: 1}, made.etag)
    assert refusal.metadata == {"etag": "absent"}
    again = await zoo.admin.set_alias("team/bert", "prod", {1: 1})
    assert again.etag != made.etag


async def test_of_twenty_who_move_with_one_etag_one_succeeds(zoo: CatalogService) -> None:
    await zoo.published("team/bert", 2)
    etag = (await zoo.admin.set_alias("team/bert", "prod", {1: 1})).etag
    moves = [zoo.admin.set_alias("team/bert", "prod", {2: n + 1}, etag) for n in range(20)]
    results = await asyncio.gather(*moves, return_exceptions=True)
    [winner] = [result for result in results if isinstance(result, model_pb2.Alias)]
    assert await get(zoo, "prod") == winner


@pytest.mark.parametrize("name", ["latest", "7", "0", "Prod", "a b", "-a", "ä", "prod/x", "a@b"])
async def test_a_name_that_is_none_is_refused(zoo: CatalogService, name: str) -> None:
    await zoo.published("team/bert")
    with refused(InvalidArgument, "ALIAS_INVALID"):
        await zoo.admin.set_alias("team/bert", name, {1: 1})


@pytest.mark.parametrize(
    ("targets", "kind", "reason"),
    [
        ([], InvalidArgument, "FIELD_INVALID"),
        ([(0, 1)], InvalidArgument, "FIELD_INVALID"),
        ([(1, -1)], InvalidArgument, "FIELD_INVALID"),
        ([(1, 1_000_001)], InvalidArgument, "FIELD_INVALID"),
        ([(1, 1), (1, 2)], InvalidArgument, "FIELD_INVALID"),
        ([(1, 0), (2, 0)], InvalidArgument, "FIELD_INVALID"),
        ([(n, 1) for n in range(1, 18)], InvalidArgument, "FIELD_INVALID"),
        ([(1, 1), (9, 1)], NotFound, "VERSION_NOT_FOUND"),
    ],
)
async def test_targets_that_make_no_sense_are_refused(
    zoo: CatalogService, targets: list[tuple[int, int]], kind: type[ZooError], reason: str
) -> None:
    await zoo.published("team/bert", 2)
    shares = [model_pb2.AliasTarget(version=version, weight=weight) for version, weight in targets]
    alias = model_pb2.Alias(model="team/bert", alias="prod", targets=shares)
    with refused(kind, reason):
        await zoo.admin.catalog.SetAlias(pb.SetAliasRequest(alias=alias))
    with refused(NotFound, "ALIAS_NOT_FOUND"):
        await get(zoo, "prod")


async def test_a_quarantined_version_cannot_be_a_target(zoo: CatalogService) -> None:
    await zoo.published("team/bert")
    async with zoo.database.write() as connection:
        await connection.execute(update(versions).values(state="QUARANTINED"))
    with refused(FailedPrecondition, "VERSION_STATE_INVALID") as refusal:
        await zoo.admin.set_alias("team/bert", "prod", {1: 1})
    assert refusal.metadata == {"state": "QUARANTINED"}


async def test_a_removed_alias_is_gone(zoo: CatalogService) -> None:
    await zoo.published("team/bert")
    alias = await zoo.admin.set_alias("team/bert", "prod", {1: 1})
    with refused(Aborted, "ETAG_MISMATCH") as refusal:
        await delete(zoo, "prod", "old")
    assert refusal.metadata == {"etag": alias.etag}
    await delete(zoo, "prod", alias.etag)
    for attempt in (get(zoo, "prod"), delete(zoo, "prod"), zoo.admin.get("team/bert@prod")):
        with refused(NotFound, "ALIAS_NOT_FOUND"):
            await attempt


async def test_aliases_of_an_unknown_model_are_not_found(zoo: CatalogService) -> None:
    await zoo.namespace("team")
    for attempt in (get(zoo, "prod"), delete(zoo, "prod"), zoo.admin.set_alias("team/bert", "prod", {1: 1})):
        with refused(NotFound, "MODEL_NOT_FOUND"):
            await attempt


async def test_an_invoker_sees_aliases_and_cannot_move_them(zoo: CatalogService) -> None:
    await zoo.published("team/bert")
    await zoo.admin.set_alias("team/bert", "prod", {1: 1})
    invoker = await zoo.caller("app", {"team": Role.INVOKER})
    assert (await invoker.get("team/bert@prod")).version == 1
    for attempt in (
        invoker.set_alias("team/bert", "prod", {1: 1}),
        invoker.catalog.DeleteAlias(pb.DeleteAliasRequest(model="team/bert", alias="prod")),
    ):
        with refused(PermissionDenied, "ROLE_MISSING"):
            await attempt
