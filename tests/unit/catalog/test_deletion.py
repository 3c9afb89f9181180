"""Deleting models and versions, bringing them back, and what `latest` means meanwhile."""

from datetime import timedelta
from typing import Any

from modelzoo.errors import Aborted, AlreadyExists, FailedPrecondition, NotFound
from support.catalog_service import CatalogService, refused
from zoo.catalog.v1 import catalog_service_pb2 as pb
from zoo.catalog.v1 import model_pb2
from zoo_catalog.models import model_row
from zoo_catalog.states import change_state
from zoo_catalog.versions import VersionState, get_version
from zoo_server.principal import Role


def state(version: model_pb2.Version) -> str:
    return model_pb2.VersionState.Name(version.state).removeprefix("VERSION_STATE_")


async def delete(zoo: CatalogService, number: int, etag: str = "") -> model_pb2.Version:
    request = pb.DeleteVersionRequest(model="team/bert", version=number, etag=etag)
    return (await zoo.admin.catalog.DeleteVersion(request)).version


async def undelete(zoo: CatalogService, number: int) -> model_pb2.Version:
    request = pb.UndeleteVersionRequest(model="team/bert", version=number)
    return (await zoo.admin.catalog.UndeleteVersion(request)).version


async def deprecate(zoo: CatalogService, number: int) -> None:
    version = {"model": "team/bert", "version": number, "state": 2}
    await zoo.admin.catalog.UpdateVersion(pb.UpdateVersionRequest(version=version))


async def quarantine(zoo: CatalogService, number: int, reason: str) -> None:
    async with zoo.database.write() as connection:
        model = await model_row(connection, "team/bert")
        version = await get_version(connection, model, number)
        await change_state(
            connection, model, version, VersionState.QUARANTINED, reason, actor="admin", action="QuarantineVersion"
        )


async def model(zoo: CatalogService) -> model_pb2.Model:
    return (await zoo.admin.catalog.GetModel(pb.GetModelRequest(name="team/bert"))).model


async def numbers(zoo: CatalogService, **fields: Any) -> list[int]:
    response = await zoo.admin.catalog.ListVersions(pb.ListVersionsRequest(model="team/bert", **fields))
    return [version.version for version in response.versions]


async def test_latest_is_the_highest_ready_version_whatever_happens(zoo: CatalogService) -> None:
    await zoo.published("team/bert", 4)
    await delete(zoo, 4)
    assert (await zoo.admin.get("team/bert")).version == 3
    await deprecate(zoo, 3)
    assert (await zoo.admin.get("team/bert")).version == 2
    await quarantine(zoo, 2, "odd")
    assert (await zoo.admin.get("team/bert")).version == (await model(zoo)).latest_version == 1
    await delete(zoo, 1)
    with refused(NotFound, "VERSION_NOT_FOUND"):
        await zoo.admin.get("team/bert")
    assert (await model(zoo)).latest_version == 0
    await undelete(zoo, 4)
    assert (await zoo.admin.get("team/bert")).version == 4


async def test_the_model_says_what_its_latest_version_says(zoo: CatalogService) -> None:
    await zoo.published("team/bert")
    for licence in ("mit", "apache-2.0"):
        readme = f"---\nlicense: {licence}\ntags: [{licence}]\n---\n# {licence}\n".encode()
        await zoo.admin.publish("team/bert", zoo.artifact.put("team", {"README.md": readme}))
    await delete(zoo, 3)
    found = await model(zoo)
    assert (found.licence, list(found.tags), found.card) == ("mit", ["mit"], "# mit\n")
    await undelete(zoo, 3)
    assert (await model(zoo)).card == "# apache-2.0\n"


async def test_a_deleted_version_is_hidden_and_comes_back_as_it_was(zoo: CatalogService) -> None:
    await zoo.published("team/bert", 2)
    await deprecate(zoo, 2)
    gone = await delete(zoo, 2)
    assert state(gone) == "DELETED"
    assert gone.purge_time.ToDatetime() - gone.delete_time.ToDatetime() == timedelta(days=30)
    assert (await numbers(zoo), await numbers(zoo, show_deleted=True)) == ([1], [2, 1])
    back = await undelete(zoo, 2)
    assert (state(back), back.HasField("delete_time"), back.HasField("purge_time")) == ("DEPRECATED", False, False)


async def test_a_quarantined_version_does_not_come_back_as_anything_else(zoo: CatalogService) -> None:
    await zoo.published("team/bert")
    await quarantine(zoo, 1, "a pickle in disguise")
    await delete(zoo, 1)
    back = await undelete(zoo, 1)
    assert (state(back), back.state_reason) == ("QUARANTINED", "a pickle in disguise")
    for wanted in (model_pb2.VERSION_STATE_READY, model_pb2.VERSION_STATE_DEPRECATED):
        version = {"model": "team/bert", "version": 1, "state": wanted}
        with refused(FailedPrecondition, "VERSION_STATE_INVALID"):
            await zoo.admin.catalog.UpdateVersion(pb.UpdateVersionRequest(version=version))


async def test_what_an_alias_targets_is_not_deleted(zoo: CatalogService) -> None:
    await zoo.published("team/bert", 2)
    for alias in ("prod", "canary"):
        await zoo.admin.set_alias("team/bert", alias, {1: 1, 2: 1})
    with refused(FailedPrecondition, "VERSION_IN_USE") as refusal:
        await delete(zoo, 2)
    assert refusal.metadata == {"aliases": "canary,prod"}


async def test_a_number_is_never_given_again(zoo: CatalogService) -> None:
    [_, digest] = await zoo.published("team/bert", 2)
    await delete(zoo, 2)
    assert (await zoo.admin.publish("team/bert", digest)).version == 3


async def test_deleting_and_undeleting_again_change_nothing(zoo: CatalogService) -> None:
    await zoo.published("team/bert", 2)
    etag = (await zoo.admin.get("team/bert@2")).etag
    assert await delete(zoo, 2, etag) == await delete(zoo, 2, etag)
    assert await undelete(zoo, 2) == await undelete(zoo, 2)
    with refused(Aborted, "ETAG_MISMATCH"):
        await delete(zoo, 2, etag)


async def test_a_deleted_model_is_gone_until_it_comes_back_as_it_was(zoo: CatalogService) -> None:
    await zoo.published("team/bert", 2)
    await zoo.admin.set_alias("team/bert", "prod", {1: 1})
    before = await zoo.admin.get("team/bert@prod")
    request = pb.DeleteModelRequest(name="Team/Bert")
    gone = (await zoo.admin.catalog.DeleteModel(request)).model
    assert (await zoo.admin.catalog.DeleteModel(request)).model == gone
    for reference in ("team/bert", "team/bert@prod", "team/bert@1", f"team/bert@sha256:{before.manifest_digest}"):
        with refused(NotFound, "MODEL_NOT_FOUND"):
            await zoo.admin.get(reference)
    assert not (await zoo.admin.catalog.ListModels(pb.ListModelsRequest())).models
    [shown] = (await zoo.admin.catalog.ListModels(pb.ListModelsRequest(show_deleted=True))).models
    assert shown.purge_time == gone.purge_time
    with refused(AlreadyExists, "MODEL_EXISTS"):
        await zoo.admin.model("team/BERT")
    await zoo.admin.catalog.UndeleteModel(pb.UndeleteModelRequest(name="team/bert"))
    assert await zoo.admin.get("team/bert@prod") == before


async def test_who_may_see_a_deleted_model_is_told_what_became_of_it(zoo: CatalogService) -> None:
    await zoo.published("team/bert")
    await zoo.admin.catalog.DeleteModel(pb.DeleteModelRequest(name="team/bert"))
    viewer, stranger = await zoo.caller("user:v", {"team": Role.VIEWER}), await zoo.caller("user:s", {})
    with refused(NotFound, "MODEL_NOT_FOUND") as refusal:
        await viewer.get("team/bert")
    assert refusal.metadata == {"model": "team/bert", "state": "DELETED"}
    assert "zoo model undelete team/bert" in refusal.message
    with refused(NotFound, "MODEL_NOT_FOUND") as of_it:
        await stranger.get("team/bert")
    with refused(NotFound, "MODEL_NOT_FOUND") as of_none:
        await stranger.get("team/bart")
    assert of_it.message.replace("bert", "bart") == of_none.message
    assert (of_it.metadata, of_none.metadata) == ({"model": "team/bert"}, {"model": "team/bart"})


class TestRetention:
    """`keep_versions` of a namespace's policy."""

    async def keep(self, zoo: CatalogService, count: int) -> None:
        namespace = {"name": "team", "policy": {"keep_versions": count}}
        request = pb.UpdateNamespaceRequest(namespace=namespace, update_mask={"paths": ["policy.keep_versions"]})
        await zoo.admin.catalog.UpdateNamespace(request)

    async def test_publishing_deletes_all_but_the_newest_and_what_somebody_holds(self, zoo: CatalogService) -> None:
        [*_, digest] = await zoo.published("team/bert", 6)
        await zoo.admin.set_alias("team/bert", "prod", {1: 1})
        pinned = {"model": "team/bert", "version": 2, "labels": {"pin": "the paper's"}}
        await zoo.admin.catalog.UpdateVersion(pb.UpdateVersionRequest(version=pinned))
        await quarantine(zoo, 3, "odd")
        await self.keep(zoo, 2)
        assert await numbers(zoo) == [6, 5, 4, 3, 2, 1]
        await zoo.admin.publish("team/bert", digest)
        assert await numbers(zoo) == [7, 6, 3, 2, 1]
        assert (await zoo.admin.get("team/bert@4")).state_reason == "the namespace keeps the newest 2"
        assert state(await undelete(zoo, 4)) == "READY"

    async def test_deprecated_versions_do_not_count_as_kept(self, zoo: CatalogService) -> None:
        [*_, digest] = await zoo.published("team/bert", 3)
        await deprecate(zoo, 3)
        await self.keep(zoo, 2)
        await zoo.admin.publish("team/bert", digest)
        assert await numbers(zoo) == [4, 3, 2]
