"""Namespaces after they are made: policy, quota, deletion."""

import asyncio
from typing import Any

from modelzoo.errors import (
    Aborted,
    AlreadyExists,
    FailedPrecondition,
    InvalidArgument,
    NotFound,
    PermissionDenied,
    ResourceExhausted,
    Unavailable,
)
from support.catalog_service import Caller, CatalogService, refused
from zoo.catalog.v1 import catalog_service_pb2 as pb
from zoo.catalog.v1 import model_pb2
from zoo.iam.v1 import iam_service_pb2 as iam_pb
from zoo_server.principal import Role


async def update(caller: Caller, *paths: str, etag: str = "", **fields: Any) -> model_pb2.Namespace:
    namespace = model_pb2.Namespace(name="team", etag=etag, **fields)
    request = pb.UpdateNamespaceRequest(namespace=namespace, update_mask={"paths": paths})
    return (await caller.catalog.UpdateNamespace(request)).namespace


async def read(zoo: CatalogService) -> pb.GetNamespaceResponse:
    return await zoo.admin.catalog.GetNamespace(pb.GetNamespaceRequest(name="team"))


async def test_a_new_namespace_can_undelete_for_thirty_days_and_keeps_everything(zoo: CatalogService) -> None:
    await zoo.namespace("team")
    policy = (await read(zoo)).namespace.policy
    assert (policy.undelete_days, policy.keep_versions, policy.allow_opaque) == (30, 0, False)


async def test_only_what_the_mask_names_changes(zoo: CatalogService) -> None:
    await zoo.namespace("team")
    await update(zoo.admin, "policy", policy={"keep_versions": 5, "undelete_days": 0})
    changed = await update(zoo.admin, "policy.allow_opaque", description="ignored", policy={"allow_opaque": True})
    assert changed == (await read(zoo)).namespace
    assert (changed.description, changed.policy.allow_opaque, changed.policy.keep_versions) == ("", True, 5)
    assert changed.policy.undelete_days == 0


async def test_of_a_jobs_checkpoints_two_are_kept_until_said_otherwise_and_one_at_least(zoo: CatalogService) -> None:
    await zoo.namespace("team")
    assert (await read(zoo)).namespace.policy.keep_checkpoints == 2
    assert (await update(zoo.admin, policy={"keep_checkpoints": 5})).policy.keep_checkpoints == 5
    assert (await update(zoo.admin, description="ours")).policy.keep_checkpoints == 5
    for wrong in (0, -1, 1001):
        with refused(InvalidArgument, "FIELD_INVALID"):
            await update(zoo.admin, "policy.keep_checkpoints", policy={"keep_checkpoints": wrong})
    assert (await update(zoo.admin, "policy.keep_checkpoints")).policy.keep_checkpoints == 2


async def test_without_a_mask_what_is_set_changes(zoo: CatalogService) -> None:
    await zoo.namespace("team")
    await update(zoo.admin, policy={"keep_versions": 5})
    changed = await update(zoo.admin, description="for search")
    assert (changed.description, changed.policy.keep_versions) == ("for search", 5)


async def test_a_path_that_cannot_be_changed_is_named(zoo: CatalogService) -> None:
    await zoo.namespace("team")
    for path in ("name", "create_time", "policy.none", "*", "etag"):
        with refused(InvalidArgument, "FIELD_INVALID") as refusal:
            await update(zoo.admin, path)
        assert path in refusal.message


async def test_who_comes_second_with_the_etag_of_before_is_refused(zoo: CatalogService) -> None:
    await zoo.namespace("team")
    etag = (await read(zoo)).namespace.etag
    second = (await update(zoo.admin, etag=etag, description="first")).etag
    with refused(Aborted, "ETAG_MISMATCH") as refusal:
        await update(zoo.admin, etag=etag, description="second")
    assert refusal.metadata == {"etag": second}
    assert (await read(zoo)).namespace.description == "first"


async def test_the_quota_is_the_clusters_to_give(zoo: CatalogService) -> None:
    await zoo.namespace("team")
    lead = await zoo.caller("lead", {"team": Role.ADMIN})
    assert (await update(lead, description="ours")).description == "ours"
    for paths in ((), ("quota_bytes",)):
        with refused(PermissionDenied, "ROLE_MISSING") as refusal:
            await update(lead, *paths, quota_bytes=1 << 40)
        assert refusal.metadata["namespace"] == "*"
    assert (await update(zoo.admin, "quota_bytes", quota_bytes=7)).quota_bytes == 7


async def test_a_namespace_with_models_is_not_deleted(zoo: CatalogService) -> None:
    await zoo.published("team/bert")
    with refused(FailedPrecondition, "NAMESPACE_NOT_EMPTY") as refusal:
        await zoo.admin.catalog.DeleteNamespace(pb.DeleteNamespaceRequest(name="team"))
    assert refusal.metadata == {"models": "1"}


async def test_a_deleted_namespace_is_gone_with_its_roles_and_its_name_stays_taken(zoo: CatalogService) -> None:
    await zoo.published("team/bert")
    await zoo.admin.catalog.DeleteModel(pb.DeleteModelRequest(name="team/bert"))
    await zoo.admin.catalog.DeleteNamespace(pb.DeleteNamespaceRequest(name="TEAM"))
    with refused(NotFound, "NAMESPACE_NOT_FOUND"):
        await read(zoo)
    with refused(NotFound, "NAMESPACE_NOT_FOUND"):
        await zoo.admin.catalog.UndeleteModel(pb.UndeleteModelRequest(name="team/bert"))
    with refused(AlreadyExists, "NAMESPACE_EXISTS"):
        await zoo.namespace("Team")
    watch = zoo.admin.iam.WatchAccess(iam_pb.WatchAccessRequest())
    assert [grant for grant in (await watch.read()).grants if grant.namespace == "team"] == []
    watch.cancel()


async def test_a_retry_finds_the_namespace_that_its_first_try_made(zoo: CatalogService) -> None:
    request = pb.CreateNamespaceRequest(namespace={"name": "team"}, request_id="r1")
    made = await zoo.admin.catalog.CreateNamespace(request)
    assert await zoo.admin.catalog.CreateNamespace(request) == made


class TestQuota:
    """Bytes of different manifests, each once, without deleted ones."""

    async def prepare(self, zoo: CatalogService, quota: int) -> list[str]:
        await zoo.namespace("team")
        await zoo.admin.model("team/bert")
        await update(zoo.admin, "quota_bytes", quota_bytes=quota)
        return [zoo.artifact.put("team", {"a": bytes([n]) * 40}) for n in range(3)]

    async def test_what_does_not_fit_is_refused_with_the_numbers_and_not_pinned(self, zoo: CatalogService) -> None:
        first, second, _ = await self.prepare(zoo, 79)
        await zoo.admin.publish("team/bert", first)
        with refused(ResourceExhausted, "QUOTA_EXCEEDED") as refusal:
            await zoo.admin.publish("team/bert", second)
        assert refusal.metadata == {"used_bytes": "40", "size_bytes": "40", "quota_bytes": "79"}
        assert {digest for _, digest, _ in zoo.artifact.pins} == {first}

    async def test_the_same_files_count_once_even_where_the_quota_is_exceeded(self, zoo: CatalogService) -> None:
        first, *_ = await self.prepare(zoo, 40)
        await zoo.admin.model("team/other")
        await zoo.admin.publish("team/bert", first)
        await update(zoo.admin, "quota_bytes", quota_bytes=1)
        assert (await zoo.admin.publish("team/other", first)).version == 1
        assert (await read(zoo)).used_bytes == 40

    async def test_deleting_makes_room_and_undeleting_takes_it(self, zoo: CatalogService) -> None:
        first, second, third = await self.prepare(zoo, 80)
        for digest in (first, second):
            await zoo.admin.publish("team/bert", digest)
        await zoo.admin.catalog.DeleteVersion(pb.DeleteVersionRequest(model="team/bert", version=1))
        await zoo.admin.publish("team/bert", third)
        with refused(ResourceExhausted, "QUOTA_EXCEEDED"):
            await zoo.admin.catalog.UndeleteVersion(pb.UndeleteVersionRequest(model="team/bert", version=1))
        await zoo.admin.catalog.DeleteModel(pb.DeleteModelRequest(name="team/bert"))
        assert (await read(zoo)).used_bytes == 0
        await update(zoo.admin, "quota_bytes", quota_bytes=79)
        with refused(ResourceExhausted, "QUOTA_EXCEEDED"):
            await zoo.admin.catalog.UndeleteModel(pb.UndeleteModelRequest(name="team/bert"))


async def test_the_artifact_service_is_told_whether_opaque_files_are_taken(zoo: CatalogService) -> None:
    await zoo.namespace("team")
    assert zoo.artifact.opaque == {}
    await update(zoo.admin, "policy.allow_opaque", policy={"allow_opaque": True})
    assert zoo.artifact.opaque == {"team": True}
    zoo.artifact.failing = Unavailable("STORAGE_UNAVAILABLE", "away")
    with refused(Unavailable, "DEPENDENCY_UNAVAILABLE"):
        await update(zoo.admin, "policy.allow_opaque", policy={"allow_opaque": False})
    zoo.artifact.failing = None
    await update(zoo.admin, "policy.allow_opaque", policy={"allow_opaque": False})
    assert zoo.artifact.opaque == {"team": False}


async def test_with_an_old_etag_it_is_told_nothing(zoo: CatalogService) -> None:
    await zoo.namespace("team")
    with refused(Aborted, "ETAG_MISMATCH"):
        await update(zoo.admin, "policy.allow_opaque", etag="1000", policy={"allow_opaque": True})
    assert zoo.artifact.opaque == {}


async def test_of_many_who_change_it_at_once_the_artifact_service_believes_the_winner(zoo: CatalogService) -> None:
    await zoo.namespace("team")
    for round_ in range(10):
        start = bool(round_ % 2)
        etag = (await update(zoo.admin, "policy.allow_opaque", policy={"allow_opaque": start})).etag
        wanted = [start, not start] * 4
        changes = (update(zoo.admin, "policy.allow_opaque", etag=etag, policy={"allow_opaque": w}) for w in wanted)
        outcomes = await asyncio.gather(*changes, return_exceptions=True)
        # Of those who change something; what is as asked already is no change.
        won = [not isinstance(each, BaseException) for each in outcomes[1::2]]
        assert won.count(True) == 1
        assert zoo.artifact.opaque["team"] == (await read(zoo)).namespace.policy.allow_opaque


async def test_what_is_not_yet_said_to_be_taken_is_refused(zoo: CatalogService) -> None:
    await zoo.namespace("team")
    zoo.artifact.failing = Unavailable("STORAGE_UNAVAILABLE", "away")
    with refused(Unavailable, "DEPENDENCY_UNAVAILABLE"):
        await update(zoo.admin, "policy.allow_opaque", policy={"allow_opaque": True})
    assert ((await read(zoo)).namespace.policy.allow_opaque, zoo.artifact.opaque) == (True, {})
