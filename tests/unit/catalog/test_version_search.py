"""Finding versions of a model: filters, orders, pages, and what is refused."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from modelzoo.errors import InvalidArgument
from support.catalog_service import Caller, CatalogService, refused, running_catalog
from zoo.catalog.v1 import catalog_service_pb2 as pb
from zoo.catalog.v1.edge_pb2 import EDGE_KIND_FINE_TUNED, Parent
from zoo_server.paging import encode_token
from zoo_server.principal import Role

# Each with the versions of team/bert that fulfil it, highest first.
FILTERS: dict[str, list[int]] = {
    "": [5, 4, 3, 2, 1],
    "state = READY": [5, 4, 3, 1],
    "state = deprecated OR version < 2": [2, 1],
    "state != READY": [2],
    "labels:stage": [3, 2, 1],
    "labels:*": [3, 2, 1],
    "NOT labels:*": [5, 4],
    "labels.stage = prod": [3, 1],
    "labels.stage != prod": [2],
    "NOT labels.stage = prod": [5, 4, 2],
    "labels.stage = PR*": [3, 1],
    "labels.stage:es": [2],
    "labels.stage:*": [3, 2, 1],
    'labels."team/run.id" = 7': [1],
    "labels.'team/run.id' = 8": [],
    "metrics.sst2.accuracy > 0.85": [3, 2],
    "metrics.sst2.accuracy = 0.9": [2],
    "metrics.sst2.test.accuracy >= 0.8": [3, 2, 1],
    "metrics.sst2.dev.accuracy > 0": [3],
    "metrics.sst2.accuracy != 0.9": [3, 1],
    "metrics.sst2.accuracy:*": [3, 2, 1],
    "metrics:sst2": [3, 2, 1],
    "metrics:*": [4, 3, 2, 1],
    "metrics:sst": [],
    'metrics."zoo/digits".loss < 1e-3': [4],
    "metrics.sst2.accuracy > 0.85 AND labels.stage = prod": [3],
    "size_bytes > 20 size_bytes <= 4e1": [4, 3],
    "create_time > 2026-01-01 update_time < 2200-01-01": [5, 4, 3, 2, 1],
    "create_time < 2026-01-01": [],
    "creator = admin source:HUB": [5],
    "base = team/base": [5, 4],
    "base:Team/Base@2": [5],
    "base = team/base@1 OR version = 1": [4, 1],
    "base:*": [5, 4],
    "NOT base:*": [3, 2, 1],
    "base = bert": [],
}


async def measure(zoo: CatalogService, number: int, dataset: str, split: str = "test", **values: float) -> None:
    request = pb.SetMetricsRequest(reference=f"team/bert@{number}", dataset=dataset, split=split, values=values)
    await zoo.admin.catalog.SetMetrics(request)


async def edit(zoo: CatalogService, number: int, **fields: Any) -> None:
    version = {"model": "team/bert", "version": number, **fields}
    await zoo.admin.catalog.UpdateVersion(pb.UpdateVersionRequest(version=version, update_mask={"paths": [*fields]}))


async def fill(zoo: CatalogService) -> None:
    """team/bert with five versions of 10, 20, ... bytes; 4 and 5 were made from team/base."""
    await zoo.published("team/base", 2)
    await zoo.admin.model("team/bert")
    for number in range(1, 6):
        digest = zoo.artifact.put("team", {"data.bin": bytes([number]) * 10 * number})
        made = [Parent(reference=f"team/base@{number - 3}", kind=EDGE_KIND_FINE_TUNED)] if number > 3 else []
        await zoo.admin.publish("team/bert", digest, source="the hub" if number == 5 else "", parents=made)  # type: ignore[arg-type]
    for number, accuracy in ((1, 0.8), (2, 0.9), (3, 0.95)):
        await measure(zoo, number, "sst2", accuracy=0.1)  # to be replaced
        await measure(zoo, number, "sst2", accuracy=accuracy)
    await measure(zoo, 3, "sst2", split="dev", accuracy=0.7)
    await measure(zoo, 4, "zoo/digits", loss=0.0001)
    for number, stage in ((1, "prod"), (2, "test"), (3, "gone")):
        await edit(zoo, number, labels={"stage": stage})
    await edit(zoo, 1, labels={"stage": "prod", "team/run.id": "7"})
    await edit(zoo, 3, labels={"stage": "prod"})
    await edit(zoo, 2, state="VERSION_STATE_DEPRECATED")


@pytest.fixture
async def filled(zoo: CatalogService) -> CatalogService:
    await fill(zoo)
    return zoo


async def listed(caller: Caller, model: str = "team/bert", **wanted: Any) -> list[int]:
    response = await caller.catalog.ListVersions(pb.ListVersionsRequest(model=model, **wanted))
    return [version.version for version in response.versions]


async def paged(caller: Caller, **wanted: Any) -> AsyncIterator[int]:
    """Page by page, one version each."""
    request = pb.ListVersionsRequest(model="team/bert", page_size=1, **wanted)
    while True:
        response = await caller.catalog.ListVersions(request)
        for version in response.versions:
            yield version.version
        request.page_token = response.next_page_token
        if not request.page_token:
            return


async def test_filters_and_orders_select_and_sort_on_every_engine(tmp_path: Path, database_url: str) -> None:
    async with running_catalog(tmp_path, database_url) as zoo:
        await fill(zoo)
        assert {text: await listed(zoo.admin, filter=text) for text in FILTERS} == FILTERS
        for order, numbers in {
            "": [5, 4, 3, 2, 1],
            "version": [1, 2, 3, 4, 5],
            "create_time asc": [1, 2, 3, 4, 5],
            "size_bytes desc": [5, 4, 3, 2, 1],
            "update_time  desc": [2, 3, 1, 4, 5],
            "metrics.sst2.accuracy desc": [3, 2, 1, 5, 4],
            "metrics.sst2.accuracy": [3, 1, 2, 5, 4],  # 0.7 on the other split
            "metrics.sst2.test.accuracy": [1, 2, 3, 5, 4],
            'metrics."zoo/digits".loss': [4, 5, 3, 2, 1],
        }.items():
            assert await listed(zoo.admin, order_by=order) == numbers, order
            assert [number async for number in paged(zoo.admin, order_by=order)] == numbers, order
        assert [n async for n in paged(zoo.admin, filter="labels:stage", order_by="size_bytes")] == [1, 2, 3]


WRONG = [
    ("stage = prod", 1, "did you mean 'state'?"),
    ("version = 1 AND state = REDY", 25, "READY, DEPRECATED"),
    ("state > READY", 1, "use one of = !="),
    ("labels = prod", 1, "use one of :"),
    ("metrics.accuracy > 0.9", 1, "metrics.<dataset>.<name>"),
    ("metrics.a.b.c.d > 0.9", 1, "metrics.<dataset>.<name>"),
    ("metrics.sst2.accuracy > high", 25, "no number"),
    ("metrics.sst2.accuracy > nan", 25, "no number"),
    ("metrics.zoo/digits.loss < 1", 1, "not expected"),
    ("state.x = READY", 1, "there is no field"),
    ("base = team/base@prod", 8, "numbered version"),
    ("base = a/b/c", 8, "namespace/name"),
    ("base != team/base", 1, "perhaps NOT"),
    ("create_time > yesterday", 15, "2026-01-31"),
]


async def test_wrong_filters_are_refused_at_their_character(zoo: CatalogService) -> None:
    await zoo.published("team/bert")
    for filter, character, says in WRONG:
        with refused(InvalidArgument, "FILTER_INVALID") as refusal:
            await listed(zoo.admin, filter=filter)
        assert refusal.metadata["character"] == str(character), filter
        assert says in refusal.message


async def test_an_order_that_there_is_not_is_refused(zoo: CatalogService) -> None:
    await zoo.published("team/bert")
    for order in ("size", "desc", "version down", "labels.stage", "metrics.accuracy", "metrics.", "; --"):
        with refused(InvalidArgument, "ORDER_BY_INVALID"):
            await listed(zoo.admin, order_by=order)


async def test_writes_between_two_pages_neither_repeat_nor_hide_others(filled: CatalogService) -> None:
    wanted = {"filter": "metrics:sst2 OR version > 5", "order_by": "metrics.sst2.accuracy desc"}
    found: list[int] = []
    async for number in paged(filled.admin, **wanted):
        found.append(number)
        if len(found) == 2:
            digest = filled.artifact.put("team", {"data.bin": b"new"})
            await filled.admin.publish("team/bert", digest)
            await measure(filled, 6, "sst2", accuracy=0.99)
    assert found == [3, 2, 1]


async def test_a_token_is_good_for_its_own_listing_alone(filled: CatalogService) -> None:
    request = pb.ListVersionsRequest(model="team/bert", page_size=1, order_by="size_bytes")
    token = (await filled.admin.catalog.ListVersions(request)).next_page_token
    forged = encode_token("versions", [1, 2])
    for wanted in (
        {"page_token": token},
        {"page_token": token, "order_by": "size_bytes", "filter": "version > 1"},
        {"page_token": token, "order_by": "size_bytes", "show_deleted": True},
        {"page_token": token, "order_by": "size_bytes", "model": "team/base"},
        {"page_token": forged},
    ):
        with refused(InvalidArgument, "PAGE_TOKEN_INVALID"):
            await listed(filled.admin, **wanted)


async def test_bases_in_namespaces_that_the_caller_may_not_see_are_not_told(zoo: CatalogService) -> None:
    await zoo.published("secret/base")
    await zoo.namespace("team")
    await zoo.admin.model("team/bert")
    made = [Parent(reference="secret/base@1", kind=EDGE_KIND_FINE_TUNED)]
    await zoo.admin.publish("team/bert", zoo.artifact.put("team", {"a": b"1"}), parents=made)  # type: ignore[arg-type]
    viewer = await zoo.caller("ann", {"team": Role.VIEWER})
    for text in ("base = secret/base", "base:*"):
        assert await listed(zoo.admin, filter=text) == [1]
        assert await listed(viewer, filter=text) == []


async def test_deleted_ones_are_found_where_they_are_asked_for(filled: CatalogService) -> None:
    await filled.admin.catalog.DeleteVersion(pb.DeleteVersionRequest(model="team/bert", version=4))
    assert await listed(filled.admin, filter="state = DELETED") == []
    assert await listed(filled.admin, filter="state = DELETED", show_deleted=True) == [4]


async def test_results_of_a_card_are_found(zoo: CatalogService) -> None:
    await zoo.namespace("team")
    await zoo.admin.model("team/bert")
    card = (
        "---\nmodel-index:\n- results:\n  - dataset: {type: glue, split: dev}\n"
        "    metrics:\n    - {type: f1, value: 0.5}\n---\n"
    )
    await zoo.admin.publish("team/bert", zoo.artifact.put("team", {"README.md": card.encode()}))
    assert await listed(zoo.admin, filter="metrics.glue.dev.f1 = 0.5") == [1]
