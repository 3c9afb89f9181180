"""Two catalogs on one PostgreSQL do what one does."""

import asyncio
from collections.abc import AsyncIterator, Awaitable
from pathlib import Path
from typing import Any

import grpc
import pytest
from sqlalchemy import select

from modelzoo.errors import from_rpc_error
from support.artifact_fake import running_artifact_fake
from support.catalog_service import CatalogService, running_catalog
from zoo.catalog.v1 import catalog_service_pb2 as pb
from zoo.catalog.v1 import model_pb2
from zoo_catalog.schema import changes


@pytest.fixture
async def replicas(tmp_path: Path, postgresql_url: str) -> AsyncIterator[tuple[CatalogService, CatalogService]]:
    """Started at once, on a database without tables; `team/bert` has a version and the alias prod."""
    async with running_artifact_fake() as artifact:
        both = [running_catalog(tmp_path, postgresql_url, artifact) for _ in range(2)]
        first, second = await asyncio.gather(*(service.__aenter__() for service in both))
        try:
            await first.published("team/bert")
            await second.admin.set_alias("team/bert", "prod", {1: 1})
            yield first, second
        finally:
            await asyncio.gather(*(service.__aexit__(None, None, None) for service in both))


async def outcome(call: Awaitable[Any]) -> Any:
    try:
        return await call
    except grpc.aio.AioRpcError as error:
        return from_rpc_error(error).reason


async def test_no_number_is_given_twice_and_none_is_left_out(
    replicas: tuple[CatalogService, CatalogService],
) -> None:
    digest = replicas[0].artifact.put("team", {"weights.bin": b"1"})
    publishing = [service.admin.publish("team/bert", digest) for _ in range(15) for service in replicas]
    numbers = [version.version for version in await asyncio.gather(*publishing)]
    assert sorted(numbers) == list(range(2, 32))
    assert (await replicas[1].admin.get("team/bert")).version == 31


async def test_a_request_sent_through_both_makes_one_version(
    replicas: tuple[CatalogService, CatalogService],
) -> None:
    digest = replicas[0].artifact.put("team", {"weights.bin": b"1"})

    def publish(service: CatalogService, request_id: str) -> Awaitable[Any]:
        return service.admin.publish("team/bert", digest, request_id=request_id)

    at_once = await asyncio.gather(*(publish(service, f"r{n}") for n in range(10) for service in replicas))
    made = {f"r{n}": at_once[2 * n] for n in range(10)}
    assert at_once == [made[f"r{n}"] for n in range(10) for _ in replicas]
    assert sorted(version.version for version in made.values()) == list(range(2, 12))
    assert await publish(replicas[1], "r3") == made["r3"]


async def test_of_those_who_move_an_alias_with_one_etag_one_wins(
    replicas: tuple[CatalogService, CatalogService],
) -> None:
    etag = (await replicas[0].admin.set_alias("team/bert", "prod", {1: 1})).etag
    for _ in range(5):
        moving = [service.admin.set_alias("team/bert", "prod", {1: 1}, etag) for _ in range(4) for service in replicas]
        outcomes = await asyncio.gather(*map(outcome, moving))
        won = [alias for alias in outcomes if alias != "ETAG_MISMATCH"]
        assert len(won) == 1
        etag = won[0].etag


async def test_who_follows_the_changes_of_both_sees_each_once_and_in_order(
    replicas: tuple[CatalogService, CatalogService],
) -> None:
    seen: list[int] = []

    async def follow(until: int) -> None:
        while not seen or seen[-1] < until:
            async with replicas[0].database.read() as connection:
                later = select(changes.c.sequence).where(changes.c.sequence > (seen[-1] if seen else 0))
                seen.extend(await connection.scalars(later.order_by(changes.c.sequence)))

    await follow(1)
    begin = seen[-1]
    moving = [s.admin.set_alias("team/bert", f"a{n}", {1: 1}) for n in range(15) for s in replicas]
    moved, _ = await asyncio.gather(asyncio.gather(*moving), follow(begin + 30))
    assert seen == list(range(1, begin + 31))
    assert sorted(int(alias.etag) for alias in moved) == seen[begin:]


async def test_words_of_other_alphabets_are_found(replicas: tuple[CatalogService, CatalogService]) -> None:
    await replicas[0].admin.model("team/cv", request_id="r1")
    model = model_pb2.Model(name="team/resumes", description="reads Résumés, übersetzt")
    await replicas[0].admin.catalog.CreateModel(pb.CreateModelRequest(model=model))
    for word in ("résumés", "über"):
        page = await replicas[1].admin.catalog.ListModels(pb.ListModelsRequest(query=word))
        assert [found.name for found in page.models] == ["team/resumes"]
