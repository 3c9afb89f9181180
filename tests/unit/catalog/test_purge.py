"""Letting go of bytes: when, which, and whatever happens in between."""

from datetime import timedelta
from typing import Any

from sqlalchemy import select, update

from modelzoo.errors import FailedPrecondition, NotFound, PermissionDenied, Unavailable
from support.catalog_service import CatalogService, refused
from zoo.catalog.v1 import catalog_service_pb2 as pb
from zoo_catalog.publish import Publisher
from zoo_catalog.schema import changes, models, versions
from zoo_server.principal import Role


async def delete(zoo: CatalogService, number: int, model: str = "team/bert") -> None:
    await zoo.admin.catalog.DeleteVersion(pb.DeleteVersionRequest(model=model, version=number))


async def purge(zoo: CatalogService, number: int) -> Any:
    return await zoo.admin.catalog.PurgeVersion(pb.PurgeVersionRequest(model="team/bert", version=number))


async def let_time_pass(zoo: CatalogService, days: float, table: Any = versions) -> None:
    async with zoo.database.write() as connection:
        for row in (await connection.execute(select(table.c.purge_time).distinct())).all():
            if row.purge_time is not None:
                earlier = row.purge_time - timedelta(days=days)
                await connection.execute(
                    update(table).where(table.c.purge_time == row.purge_time).values(purge_time=earlier)
                )


def pinned(zoo: CatalogService) -> set[str]:
    return {digest for _, digest, _ in zoo.artifact.pins}


async def test_bytes_are_let_go_of_when_undeleting_ends_and_not_before(zoo: CatalogService) -> None:
    first, second = await zoo.published("team/bert", 2)
    await delete(zoo, 1)
    await let_time_pass(zoo, 29.9)
    await zoo.purger.round()
    assert pinned(zoo) == {first, second}
    await let_time_pass(zoo, 0.2)
    await zoo.purger.round()
    assert pinned(zoo) == {second}
    with refused(FailedPrecondition, "VERSION_PURGED"):
        await zoo.admin.catalog.UndeleteVersion(pb.UndeleteVersionRequest(model="team/bert", version=1))
    assert (await zoo.admin.get("team/bert@1")).manifest_digest == first


async def test_files_that_another_version_has_stay_pinned(zoo: CatalogService) -> None:
    [digest] = await zoo.published("team/bert")
    await zoo.admin.publish("team/bert", digest)
    await delete(zoo, 1)
    await purge(zoo, 1)
    assert pinned(zoo) == {digest}
    await delete(zoo, 2)
    await zoo.purger.round()
    assert pinned(zoo) == {digest}, "what can be undeleted was let go of"
    await purge(zoo, 2)
    assert pinned(zoo) == set()


async def test_a_model_goes_with_all_that_it_has(zoo: CatalogService) -> None:
    await zoo.published("team/bert", 2)
    [other] = await zoo.published("other/bert")
    await zoo.admin.set_alias("team/bert", "prod", {1: 1})
    await zoo.admin.catalog.DeleteModel(pb.DeleteModelRequest(name="team/bert"))
    await zoo.purger.round()
    assert len(pinned(zoo)) == 3
    await let_time_pass(zoo, 31, models)
    await zoo.purger.round()
    assert pinned(zoo) == {other}
    with refused(FailedPrecondition, "MODEL_PURGED"):
        await zoo.admin.catalog.UndeleteModel(pb.UndeleteModelRequest(name="team/bert"))
    assert [m.name for m in (await zoo.admin.catalog.ListModels(pb.ListModelsRequest(show_deleted=True))).models] == [
        "other/bert"
    ]


async def test_only_what_is_deleted_is_purged_and_only_by_admins(zoo: CatalogService) -> None:
    await zoo.published("team/bert")
    with refused(FailedPrecondition, "VERSION_STATE_INVALID"):
        await purge(zoo, 1)
    with refused(NotFound, "VERSION_NOT_FOUND"):
        await purge(zoo, 2)
    await delete(zoo, 1)
    trainer = await zoo.caller("trainer", {"team": Role.TRAINER})
    with refused(PermissionDenied, "ROLE_MISSING"):
        await trainer.catalog.PurgeVersion(pb.PurgeVersionRequest(model="team/bert", version=1))


async def test_without_the_artifact_service_a_later_round_ends_it(zoo: CatalogService) -> None:
    await zoo.published("team/bert")
    await delete(zoo, 1)
    zoo.artifact.failing = Unavailable("STORAGE_UNAVAILABLE", "gone")
    with refused(Unavailable, "DEPENDENCY_UNAVAILABLE"):
        await purge(zoo, 1)
    assert len(pinned(zoo)) == 1
    zoo.artifact.failing = None
    await zoo.purger.round()
    assert pinned(zoo) == set()
    zoo.artifact.calls.clear()
    await zoo.purger.round()
    assert zoo.artifact.calls == [], "what is done is done again"


async def test_files_published_again_after_a_purge_are_pinned_until_they_are_purged_again(zoo: CatalogService) -> None:
    [digest] = await zoo.published("team/bert")
    for number in (1, 2, 3):
        assert pinned(zoo) == {digest}
        await delete(zoo, number)
        await purge(zoo, number)
        assert pinned(zoo) == set()
        await zoo.admin.publish("team/bert", digest)
    assert (await zoo.admin.get("team/bert")).version == 4


class PurgesMeanwhile:
    """An artifact service during whose pin, once, the last version of the same files is purged: pinned, let go of."""

    def __init__(self, zoo: CatalogService, artifacts: Any) -> None:
        self._zoo = zoo
        self._artifacts = artifacts
        self._done = False

    def __getattr__(self, name: str) -> Any:
        return getattr(self._artifacts, name)

    async def pin(self, namespace: str, manifest_digest: str, holder: str) -> None:
        await self._artifacts.pin(namespace, manifest_digest, holder)
        if not self._done:
            self._done = True
            await purge(self._zoo, 1)


async def test_a_purge_in_the_middle_of_a_publication_takes_no_pin_from_it(zoo: CatalogService) -> None:
    [digest] = await zoo.published("team/bert")
    await delete(zoo, 1)
    publisher = Publisher(zoo.database, PurgesMeanwhile(zoo, zoo.purger._artifacts))  # type: ignore[arg-type]
    version = await publisher.publish("team/bert", digest, "", "admin")
    await zoo.purger.round()
    assert (version.number, pinned(zoo)) == (2, {digest})


async def test_a_purge_is_recorded_once_by_who_did_it(zoo: CatalogService) -> None:
    await zoo.published("team/bert", 2)
    await delete(zoo, 1)
    await delete(zoo, 2)
    await purge(zoo, 1)
    await purge(zoo, 1)
    await let_time_pass(zoo, 31)
    await zoo.purger.round()
    query = select(changes.c.actor, changes.c.resource).where(changes.c.action == "PurgeVersion")
    async with zoo.database.read() as connection:
        rows = (await connection.execute(query.order_by(changes.c.sequence))).all()
    assert [tuple(row) for row in rows] == [("admin", "team/bert@1"), ("service:catalog", "team/bert@2")]
