"""The client for asyncio: the same changes, whatever breaks off, and whoever loses patience."""

import asyncio
from collections.abc import AsyncIterator, Callable
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from modelzoo import AsyncClient
from modelzoo.client import Client
from modelzoo.errors import NotFound, OutOfRange, Unavailable
from support.front_door import FrontDoor

Tree = Callable[..., Path]
WAIT_S = 10


@pytest.fixture
def bert(client: Client, tree: Tree) -> Client:
    """With two versions of team/bert, the alias prod at the first."""
    for content in (b"1", b"2"):
        client.push(tree({"a": content}), "team/bert", alias=None)
    client.set_alias("team/bert", "prod", 1)
    return client


@pytest.fixture
async def zoo(bert: Client, door: FrontDoor) -> AsyncIterator[AsyncClient]:
    async with AsyncClient(door.url, "admin-key") as zoo:
        yield zoo


async def test_it_says_what_the_other_client_says(bert: Client, zoo: AsyncClient) -> None:
    whole = list(bert.changes())
    assert [change async for change in zoo.changes()] == whole
    assert [change async for change in zoo.changes(whole[2].sequence, models=["TEAM/bert"])] == whole[3:]
    since = whole[3].time - timedelta(microseconds=1)
    assert [change async for change in zoo.changes(since=since)] == whole[3:]
    assert [change async for change in zoo.changes(since=datetime.now().astimezone() + timedelta(days=1))] == []
    assert await zoo.version("team/bert@prod") == bert.version("team/bert@prod")
    with pytest.raises(NotFound):
        await zoo.version("team/none")
    with pytest.raises(OutOfRange):
        await anext(zoo.changes(10_000))


async def test_a_stream_that_breaks_again_and_again_is_gone_on_with(
    bert: Client, zoo: AsyncClient, door: FrontDoor
) -> None:
    whole = list(bert.changes())
    for cut_after in (0, 1, 3):
        door.cut_after["WatchChanges"], door.cuts = cut_after, 2
        assert [change async for change in zoo.changes()] == whole
        assert door.cuts == 0


async def test_who_is_cancelled_while_it_waits_misses_nothing(bert: Client, zoo: AsyncClient) -> None:
    async with zoo.changes(None, follow=True, models=["team/bert"]) as stream:
        assert await stream.receive() is None
        for version in (2, 1, 2):
            waiting = asyncio.create_task(anext(stream))
            await asyncio.sleep(0)
            waiting.cancel()
            await asyncio.wait([waiting])
            assert waiting.cancelled()
            await asyncio.to_thread(bert.set_alias, "team/bert", "prod", version)
            change = await asyncio.wait_for(anext(stream), WAIT_S)
            assert change.after == {"targets": [{"version": version, "weight": 1}]}


@pytest.mark.parametrize("whose", ["stream", "client"])
async def test_a_followed_stream_ends_when_it_or_its_client_is_closed(zoo: AsyncClient, whose: str) -> None:
    stream = zoo.changes(None, follow=True)
    assert await stream.receive() is None
    reading = asyncio.create_task(_all(stream))
    await asyncio.sleep(0)
    if whose == "stream":
        stream.close()
    else:
        await zoo.close()
    assert await asyncio.wait_for(reading, WAIT_S) == []
    assert await _all(stream) == []


async def test_many_follow_at_once_on_one_loop(bert: Client, zoo: AsyncClient) -> None:
    streams = [zoo.changes(None, follow=True) for _ in range(20)]
    await asyncio.gather(*(stream.receive() for stream in streams))
    await asyncio.to_thread(bert.set_alias, "team/bert", "prod", 2)
    found = await asyncio.wait_for(asyncio.gather(*map(anext, streams)), WAIT_S)
    assert {change.resource for change in found} == {"team/bert@prod"}


async def test_where_nothing_answers_it_gives_up() -> None:
    async with AsyncClient("127.0.0.1:1", "some-key") as zoo:
        with pytest.raises(Unavailable):
            await zoo.version("team/bert")


async def _all(stream: object) -> list[object]:
    return [change async for change in stream]  # type: ignore[attr-defined]
