"""Taking versions out of use, and putting them back."""

import pytest
from sqlalchemy import select

from modelzoo.errors import FailedPrecondition, InvalidArgument, NotFound, PermissionDenied, Unavailable
from support.catalog_service import CatalogService, refused
from zoo.catalog.v1 import catalog_service_pb2 as pb
from zoo.catalog.v1 import model_pb2
from zoo_catalog.schema import changes
from zoo_server.principal import Role

QUARANTINED, READY = model_pb2.VERSION_STATE_QUARANTINED, model_pb2.VERSION_STATE_READY


async def latest(zoo: CatalogService, model: str = "team/bert") -> int:
    return (await zoo.admin.catalog.GetModel(pb.GetModelRequest(name=model))).model.latest_version


async def test_a_quarantined_version_says_so_and_why(zoo: CatalogService) -> None:
    [digest] = await zoo.published("team/bert")
    [moved] = await zoo.admin.quarantine("team/bert@1", "leaks")
    assert (moved.state, moved.state_reason) == (QUARANTINED, "leaks")
    assert await zoo.admin.get("team/bert@1") == moved
    assert zoo.artifact.quarantined == {("team", digest): "leaks"}
    [again] = await zoo.admin.quarantine("team/bert@1", "leaks, and worse")
    assert again.state_reason == "leaks, and worse"


async def test_latest_digests_and_aliases_pass_over_it(zoo: CatalogService) -> None:
    digests = await zoo.published("team/bert", 2)
    await zoo.admin.set_alias("team/bert", "prod", {2: 1})
    await zoo.admin.set_alias("team/bert", "shared", {1: 1, 2: 1000})
    await zoo.admin.quarantine("team/bert@2")
    assert (await zoo.admin.get("team/bert")).version == await latest(zoo) == 1
    assert {(await zoo.admin.get("team/bert@shared")).version for _ in range(5)} == {1}
    for reference in ("team/bert@prod", f"team/bert@sha256:{digests[1]}"):
        with refused(NotFound, "VERSION_NOT_FOUND"):
            await zoo.admin.get(reference)
    with refused(FailedPrecondition, "VERSION_STATE_INVALID"):
        await zoo.admin.set_alias("team/bert", "next", {2: 1})


async def test_an_alias_without_a_usable_target_says_what_became_of_it(zoo: CatalogService) -> None:
    await zoo.published("team/bert")
    await zoo.admin.set_alias("team/bert", "prod", {1: 1})
    await zoo.admin.quarantine("team/bert@1", "leaks")
    with refused(NotFound, "VERSION_NOT_FOUND") as refusal:
        await zoo.admin.get("team/bert@prod")
    assert "version 1 is QUARANTINED (leaks)" in refusal.message


async def test_a_release_puts_it_back(zoo: CatalogService) -> None:
    await zoo.published("team/bert", 2)
    await zoo.admin.quarantine("team/bert@2")
    [moved] = await zoo.admin.release("team/bert@2")
    assert (moved.state, moved.state_reason) == (READY, "")
    assert (await zoo.admin.get("team/bert")).version == 2
    assert zoo.artifact.quarantined == {}
    with refused(FailedPrecondition, "VERSION_STATE_INVALID"):
        await zoo.admin.release("team/bert@2")


async def test_versions_with_the_same_files_go_with_it(zoo: CatalogService) -> None:
    [digest] = await zoo.published("team/bert")
    await zoo.admin.model("team/copy")
    await zoo.admin.publish("team/copy", digest)
    assert [version.model for version in await zoo.admin.quarantine("team/copy@1")] == ["team/copy", "team/bert"]
    with refused(NotFound, "VERSION_NOT_FOUND"):
        await zoo.admin.get("team/bert")
    with refused(FailedPrecondition, "MANIFEST_QUARANTINED"):
        await zoo.admin.publish("team/bert", digest)
    assert len(await zoo.admin.release("team/bert@1")) == 2
    assert (await zoo.admin.publish("team/bert", digest)).version == 2


async def test_it_stands_in_the_changes(zoo: CatalogService) -> None:
    await zoo.published("team/bert")
    await zoo.admin.quarantine("team/bert@1", "leaks")
    await zoo.admin.release("team/bert@1")
    query = select(changes.c.actor, changes.c.action, changes.c.before, changes.c.after).where(
        changes.c.resource == "team/bert@1"
    )
    async with zoo.database.read() as connection:
        rows = [tuple(row) for row in (await connection.execute(query.order_by(changes.c.sequence))).all()]
    ready, held = {"state": "READY", "state_reason": ""}, {"state": "QUARANTINED", "state_reason": "leaks"}
    assert rows[1:] == [("admin", "QuarantineVersion", ready, held), ("admin", "ReleaseVersion", held, ready)]


async def test_a_deleted_version_with_the_same_files_does_not_come_back_as_anything_else(zoo: CatalogService) -> None:
    [digest] = await zoo.published("team/bert")
    await zoo.admin.publish("team/bert", digest)
    await zoo.admin.catalog.DeleteVersion(pb.DeleteVersionRequest(model="team/bert", version=2))
    assert [version.version for version in await zoo.admin.quarantine("team/bert@1", "leaks")] == [1]
    back = await zoo.admin.catalog.UndeleteVersion(pb.UndeleteVersionRequest(model="team/bert", version=2))
    assert (back.version.state, back.version.state_reason) == (QUARANTINED, "leaks")
    assert {version.state for version in await zoo.admin.release("team/bert@2")} == {READY}


@pytest.mark.parametrize("reference", ["team/bert", "team/bert@prod", "team/bert@sha256:" + "0" * 64])
async def test_only_a_number_names_what_is_quarantined(zoo: CatalogService, reference: str) -> None:
    await zoo.published("team/bert")
    with refused(InvalidArgument, "REFERENCE_INVALID"):
        await zoo.admin.quarantine(reference)


async def test_while_the_artifact_service_is_away_nothing_is_quarantined(zoo: CatalogService) -> None:
    await zoo.published("team/bert")
    zoo.artifact.failing = Unavailable("STORAGE_UNAVAILABLE", "away")
    with refused(Unavailable, "DEPENDENCY_UNAVAILABLE"):
        await zoo.admin.quarantine("team/bert@1")
    zoo.artifact.failing = None
    assert (await zoo.admin.get("team/bert@1")).state == READY
    await zoo.admin.quarantine("team/bert@1")


async def test_only_admins_of_the_namespace_decide(zoo: CatalogService) -> None:
    await zoo.published("team/bert")
    trainer = await zoo.caller("app", {"team": Role.TRAINER, "other": Role.ADMIN})
    for attempt in (trainer.quarantine("team/bert@1"), trainer.release("team/bert@1")):
        with refused(PermissionDenied, "ROLE_MISSING"):
            await attempt
