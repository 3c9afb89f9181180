"""Lineage: edges are made and taken back, make no cycle, outlive deletion, and tell nobody more than it may see."""

from typing import Any

from sqlalchemy import insert, select, update

from modelzoo.errors import AlreadyExists, FailedPrecondition, InvalidArgument, NotFound, PermissionDenied
from support.catalog_service import Caller, CatalogService, refused
from zoo.catalog.v1 import catalog_service_pb2, change_service_pb2, edge_pb2
from zoo.catalog.v1 import lineage_service_pb2 as pb
from zoo_catalog.schema import versions
from zoo_server.principal import Role

TUNED = edge_pb2.EDGE_KIND_FINE_TUNED


async def link(caller: Caller, child: str, parent: str, **more: Any) -> edge_pb2.Edge:
    edge = edge_pb2.Edge(child=child, parent=parent, **{"kind": TUNED, **more})
    return (await caller.lineage.CreateEdge(pb.CreateEdgeRequest(edge=edge))).edge


async def unlink(caller: Caller, child: str, parent: str) -> None:
    await caller.lineage.DeleteEdge(pb.DeleteEdgeRequest(child=child, parent=parent, kind=TUNED))


async def lineage(caller: Caller, reference: str, **more: Any) -> pb.GetLineageResponse:
    return await caller.lineage.GetLineage(pb.GetLineageRequest(reference=reference, **more))


async def names(caller: Caller, reference: str, **more: Any) -> list[str]:
    return [node.reference for node in (await lineage(caller, reference, **more)).nodes]


async def chain(zoo: CatalogService, count: int) -> None:
    """team/bert@1 <- @2 <- @3 ..."""
    await zoo.published("team/bert", count)
    for number in range(2, count + 1):
        await link(zoo.admin, f"team/bert@{number}", f"team/bert@{number - 1}")


async def test_an_edge_is_made_of_what_references_mean_now_and_can_be_repeated(zoo: CatalogService) -> None:
    await zoo.published("team/bert", 2)
    await zoo.admin.set_alias("team/bert", "base", {1: 1})
    said = {"job": "job_1", "dataset": "team/data@3", "code": "https://git.example.com/x@abc"}
    made = await link(zoo.admin, "TEAM/bert", "team/bert@base", **said)
    assert (made.child, made.parent, made.actor, made.job) == ("team/bert@2", "team/bert@1", "admin", "job_1")
    assert await link(zoo.admin, "team/bert@2", "team/bert@1", **said) == made
    with refused(AlreadyExists, "EDGE_EXISTS"):
        await link(zoo.admin, "team/bert@2", "team/bert@1", job="job_2")
    await link(zoo.admin, "team/bert@2", "team/bert@1", kind=edge_pb2.EDGE_KIND_QUANTISED)
    assert len((await lineage(zoo.admin, "team/bert@2")).edges) == 2


async def test_no_version_is_made_from_itself_by_whatever_way_round(zoo: CatalogService) -> None:
    await chain(zoo, 4)
    for child, parent in ((1, 1), (1, 2), (1, 4), (2, 4)):
        with refused(FailedPrecondition, "LINEAGE_CYCLE"):
            await link(zoo.admin, f"team/bert@{child}", f"team/bert@{parent}")
    await link(zoo.admin, "team/bert@4", "team/bert@1")
    assert len((await lineage(zoo.admin, "team/bert@1")).edges) == 4


async def test_lineage_goes_up_down_and_both_ways_as_far_as_asked(zoo: CatalogService) -> None:
    await chain(zoo, 5)
    assert await names(zoo.admin, "team/bert@3", direction=1) == [f"team/bert@{n}" for n in (3, 2, 1)]
    assert await names(zoo.admin, "team/bert@3", direction=2) == [f"team/bert@{n}" for n in (3, 4, 5)]
    assert await names(zoo.admin, "team/bert@3") == [f"team/bert@{n}" for n in (3, 2, 1, 4, 5)]
    near = await lineage(zoo.admin, "team/bert@3", depth=1)
    assert ([node.reference for node in near.nodes], near.truncated) == (
        ["team/bert@3", "team/bert@2", "team/bert@4"],
        True,
    )
    assert not (await lineage(zoo.admin, "team/bert@3", depth=2)).truncated
    assert [(edge.child, edge.parent) for edge in near.edges] == [(0, 1), (2, 0)]


async def test_below_a_dataset_stands_what_was_trained_with_it_and_what_became_of_that(zoo: CatalogService) -> None:
    await zoo.published("team/bert", 4)
    await zoo.published("lab/data", 1)
    with_data = {"job": "job_1", "dataset": "lab/data@1"}
    await link(zoo.admin, "team/bert@3", "team/bert@1", **with_data)
    await link(zoo.admin, "team/bert@3", "team/bert@2", **with_data)
    await link(zoo.admin, "team/bert@4", "team/bert@3", dataset="lab/data@2")
    found = await lineage(zoo.admin, "lab/data", direction=2)
    assert [node.reference for node in found.nodes] == ["lab/data@1", "team/bert@3", "team/bert@4"]
    trained_on = edge_pb2.EDGE_KIND_TRAINED_ON
    assert [(edge.child, edge.parent, edge.kind) for edge in found.edges] == [(1, 0, trained_on), (2, 1, TUNED)]
    assert (found.edges[0].job, found.truncated) == ("job_1", False)
    assert await names(zoo.admin, "lab/data", direction=1) == ["lab/data@1"]
    assert (await lineage(zoo.admin, "lab/data", direction=2, depth=1)).truncated


async def test_what_two_ways_lead_to_is_told_once(zoo: CatalogService) -> None:
    await zoo.published("team/bert", 4)
    for child, parent in ((2, 1), (3, 1), (4, 2), (4, 3)):
        await link(zoo.admin, f"team/bert@{child}", f"team/bert@{parent}")
    for direction, root in ((1, 4), (2, 1)):
        found = await lineage(zoo.admin, f"team/bert@{root}", direction=direction)
        assert (len(found.nodes), len(found.edges)) == (4, 4)


async def test_a_thousand_versions_are_told_and_that_there_are_more(zoo: CatalogService) -> None:
    await zoo.published("team/bert")
    async with zoo.database.write() as connection:
        first = (await connection.execute(select(versions))).mappings().one()
        await connection.execute(insert(versions), [{**first, "version": number} for number in range(2, 1101)])
        await connection.exec_driver_sql(
            "INSERT INTO edges SELECT model_id, version, model_id, 1, 'DERIVED', '', '', '', create_time, 'admin'"
            " FROM versions WHERE version > 1"
        )
    found = await lineage(zoo.admin, "team/bert@1")
    assert (len(found.nodes), len(found.edges), found.truncated) == (1000, 999, True)


async def test_a_hidden_parent_is_shown_as_hidden_and_a_hidden_child_is_not(zoo: CatalogService) -> None:
    await zoo.published("secret/base", 2)
    await zoo.published("team/bert", 2)
    await link(zoo.admin, "secret/base@2", "secret/base@1")
    await link(zoo.admin, "team/bert@1", "secret/base@2", job="job_1")
    await link(zoo.admin, "team/bert@2", "team/bert@1")
    viewer = await zoo.caller("vera", {"team": Role.VIEWER})
    found = await lineage(viewer, "team/bert@2")
    assert [(node.reference, node.hidden, node.state) for node in found.nodes][2:] == [("", True, 0)]
    assert [(edge.child, edge.parent, edge.job) for edge in found.edges] == [(0, 1, ""), (1, 2, "job_1")]
    owner = await zoo.caller("olga", {"secret": Role.VIEWER})
    assert await names(owner, "secret/base@1") == ["secret/base@1", "secret/base@2"]


async def test_the_log_names_a_parent_only_to_those_who_may_see_it(zoo: CatalogService) -> None:
    await zoo.published("secret/base")
    await zoo.published("team/bert")
    await link(zoo.admin, "team/bert@1", "secret/base@1")
    await unlink(zoo.admin, "team/bert@1", "secret/base@1")
    viewer = await zoo.caller("vera", {"team": Role.VIEWER})
    for caller, parent in ((viewer, None), (zoo.admin, "secret/base@1")):
        page = await caller.changes.ListChanges(change_service_pb2.ListChangesRequest(page_size=2))
        deleted, created = page.changes
        assert (deleted.action, created.action, created.resource) == ("DeleteEdge", "CreateEdge", "team/bert@1")
        assert deleted.before["parent"] == created.after["parent"] == parent


async def test_edges_outlive_their_versions(zoo: CatalogService) -> None:
    await chain(zoo, 3)
    async with zoo.database.write() as connection:
        await connection.execute(update(versions).where(versions.c.version == 2).values(state="DELETED"))
    found = await lineage(zoo.admin, "team/bert@3")
    assert [node.state for node in found.nodes] == [1, 4, 1]


async def test_who_may_not_see_a_parent_cannot_name_it_and_who_does_not_publish_cannot_say_anything(
    zoo: CatalogService,
) -> None:
    [digest] = await zoo.published("team/bert")
    await zoo.published("secret/base")
    publisher = await zoo.caller("pia", {"team": Role.PUBLISHER})
    viewer = await zoo.caller("vera", {"team": Role.VIEWER})
    parent = edge_pb2.Parent(reference="secret/base@1", kind=TUNED)
    with refused(NotFound, "MODEL_NOT_FOUND"):
        await link(publisher, "team/bert@1", "secret/base@1")
    with refused(NotFound, "MODEL_NOT_FOUND"):
        await unlink(publisher, "team/bert@1", "secret/base@1")
    with refused(NotFound, "MODEL_NOT_FOUND"):
        request = catalog_service_pb2.CreateVersionRequest(model="team/bert", manifest_digest=digest, parents=[parent])
        await publisher.catalog.CreateVersion(request)
    for attempt in (link(viewer, "team/bert@1", "team/bert@1"), unlink(viewer, "team/bert@1", "team/bert@1")):
        with refused(PermissionDenied, "ROLE_MISSING"):
            await attempt


async def test_an_edge_that_is_taken_back_is_gone(zoo: CatalogService) -> None:
    await chain(zoo, 2)
    await unlink(zoo.admin, "team/bert@2", "team/bert@1")
    assert await names(zoo.admin, "team/bert@2") == ["team/bert@2"]
    with refused(NotFound, "EDGE_NOT_FOUND"):
        await unlink(zoo.admin, "team/bert@2", "team/bert@1")
    await link(zoo.admin, "team/bert@1", "team/bert@2")


async def test_a_version_is_published_with_its_parents_all_or_nothing(zoo: CatalogService) -> None:
    [digest] = await zoo.published("team/bert")
    parents = [edge_pb2.Parent(reference="team/bert", kind=kind) for kind in (TUNED, edge_pb2.EDGE_KIND_MERGED)]
    request = catalog_service_pb2.CreateVersionRequest(
        model="team/bert", manifest_digest=digest, request_id="r1", parents=parents
    )
    for _ in range(2):  # the retry must not be refused for what `team/bert` means by then
        assert (await zoo.admin.catalog.CreateVersion(request)).version.version == 2
    found = await lineage(zoo.admin, "team/bert@2")
    assert {(edge.child, edge.parent, edge.kind) for edge in found.edges} == {(0, 1, 1), (0, 1, 3)}
    wrong = [*parents, edge_pb2.Parent(reference="team/bert", kind=TUNED, job="job_2")]
    for bad, reason, kind in (
        (wrong, "EDGE_EXISTS", AlreadyExists),
        ([edge_pb2.Parent(reference="team/bert@9", kind=TUNED)], "VERSION_NOT_FOUND", NotFound),
        (
            [edge_pb2.Parent(reference="team/bert", kind=TUNED, dataset="not a reference")],
            "REFERENCE_INVALID",
            InvalidArgument,
        ),
        ([edge_pb2.Parent(reference="team/bert", kind=77)], "FIELD_INVALID", InvalidArgument),  # type: ignore[arg-type]
    ):
        with refused(kind, reason):
            request = catalog_service_pb2.CreateVersionRequest(model="team/bert", manifest_digest=digest, parents=bad)
            await zoo.admin.catalog.CreateVersion(request)
    assert (await zoo.admin.get("team/bert")).version == 2
