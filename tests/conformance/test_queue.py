"""What every Queue promises, asked of each driver; and what the one in Redis does when Redis is away, or full."""

import asyncio
import time
from collections.abc import AsyncIterator

import pytest
from redis.asyncio import Redis

from modelzoo.errors import Unavailable
from support.proxy import BlackHole, proxy_before
from support.servers import RedisServer, redis_server
from support.waiting import eventually
from zoo_store.queue import Queue, open_queue


@pytest.fixture(params=["memory", "redis"])
async def queue(request: pytest.FixtureRequest) -> AsyncIterator[Queue]:
    url = "memory://" if request.param == "memory" else request.getfixturevalue("redis_url")
    async with open_queue(url) as queue:
        yield queue


async def test_the_lowest_rank_comes_first_and_of_equal_ones_the_first_by_name(queue: Queue) -> None:
    await queue.put("cpu", {"c": 1.5, "a": 2.0, "b": -3.25})
    await queue.put("cpu", {"d": 1.5})
    assert [await queue.pop("cpu", 0) for _ in range(5)] == ["b", "c", "d", "a", None]


async def test_an_entry_that_is_put_again_waits_once_at_its_last_rank(queue: Queue) -> None:
    await queue.put("cpu", {"a": 1.0, "b": 2.0})
    await queue.put("cpu", {"a": 3.0})
    await queue.put("cpu", {})
    assert await queue.size("cpu") == 2
    assert [await queue.pop("cpu", 0) for _ in range(3)] == ["b", "a", None]


async def test_classes_know_nothing_of_each_other(queue: Queue) -> None:
    await queue.put("cpu", {"a": 1.0})
    assert await queue.pop("gpu", 0) is None
    assert (await queue.size("cpu"), await queue.size("gpu")) == (1, 0)


async def test_what_is_removed_does_not_come_and_removing_twice_is_harmless(queue: Queue) -> None:
    await queue.put("cpu", {"a": 1.0, "b": 2.0})
    await queue.remove("cpu", "a")
    await queue.remove("cpu", "a")
    assert await queue.pop("cpu", 0) == "b"


async def test_who_waits_gets_what_is_put_then(queue: Queue) -> None:
    waiting = asyncio.create_task(queue.pop("cpu", 10))
    await asyncio.wait([waiting], timeout=0.1)
    await queue.put("cpu", {"a": 1.0})
    assert await asyncio.wait_for(waiting, 30) == "a"


async def test_of_those_who_wait_each_entry_goes_to_one(queue: Queue) -> None:
    waiting = [asyncio.create_task(queue.pop("cpu", 10)) for _ in range(8)]
    for number in range(8):
        await queue.put("cpu", {f"e{number}": float(number)})
    assert sorted(str(entry) for entry in await asyncio.gather(*waiting)) == [f"e{number}" for number in range(8)]
    assert await queue.size("cpu") == 0


async def test_who_waits_in_vain_is_told_so_in_time(queue: Queue) -> None:
    began = time.monotonic()
    assert await queue.pop("cpu", 0.2) is None
    assert 0.15 < time.monotonic() - began < 2


async def test_who_gives_up_waiting_takes_nothing_later(queue: Queue) -> None:
    waiting = asyncio.create_task(queue.pop("cpu", 10))
    await asyncio.wait([waiting], timeout=0.1)
    waiting.cancel()
    await asyncio.wait([waiting])

    async def put() -> bool:
        # Redis may not have heard yet that the other has hung up.
        await queue.put("cpu", {"a": 1.0})
        return await queue.size("cpu") == 1

    await eventually(put)
    assert await queue.pop("cpu", 0) == "a"


async def test_other_urls_are_refused() -> None:
    with pytest.raises(ValueError, match="redis://"):
        async with open_queue("http://here"):
            pass


async def test_redis_is_said_to_be_away_and_used_again_when_it_is_back() -> None:
    with redis_server() as server:
        async with open_queue(server.url()) as queue:
            await queue.put("cpu", {"a": 1.0})
            waiting = asyncio.create_task(queue.pop("gpu", 20))
            await asyncio.wait([waiting], timeout=0.1)
            server.kill()
            calls = (queue.put("cpu", {"a": 1.0}), queue.pop("cpu", 0), queue.pop("cpu", 5), queue.size("cpu"), waiting)
            answers = await asyncio.wait_for(asyncio.gather(*calls, return_exceptions=True), 10)
            assert [type(answer) for answer in answers] == [Unavailable] * 5
            server.start()
            await queue.put("cpu", {"b": 1.0})
            assert await queue.pop("cpu", 5) == "b"


async def test_a_redis_that_says_nothing_is_noticed_within_seconds(redis_shared: RedisServer) -> None:
    async with proxy_before(redis_shared.port) as proxy, open_queue(f"redis://127.0.0.1:{proxy.port}/0") as queue:
        proxy.fault = BlackHole()
        began = time.monotonic()
        answers = await asyncio.gather(queue.put("cpu", {"a": 1.0}), queue.pop("cpu", 30), return_exceptions=True)
        assert [type(answer) for answer in answers] == [Unavailable] * 2
        assert time.monotonic() - began < 15


async def test_a_full_redis_refuses_what_is_put_and_goes_on_with_the_rest() -> None:
    with redis_server() as server:
        async with open_queue(server.url()) as queue, Redis.from_url(server.url()) as redis:
            await queue.put("cpu", {"a": 1.0})
            await redis.config_set("maxmemory-policy", "noeviction")
            await redis.config_set("maxmemory", "1")
            with pytest.raises(Unavailable):
                await queue.put("cpu", {"b": 1.0})
            assert await queue.pop("cpu", 0) == "a"
