"""What every Presence promises, asked of each driver; and what the one in Redis does when Redis is away."""

import asyncio
import dataclasses
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass

import pytest
from redis.asyncio import Redis

from modelzoo.errors import Unavailable
from support.proxy import BlackHole, Pass, proxy_before
from support.servers import redis_server
from zoo_store.presence import PRESENCE_TTL_S, Declined, LoadedModel, Presence, WorkerPresence, open_presence
from zoo_store.presence_memory import MemoryPresence

MODEL = LoadedModel("zoo/all-minilm-l6-v2@3", "ab" * 32, task="embed", loading=True, size_bytes=90_000_000)
WORKER = WorkerPresence(
    "worker-1",
    "127.0.0.1:7001",
    "cpu",
    1_800_000_000.25,
    running=2,
    queued=1,
    capacity=64,
    used_bytes=90_000_000,
    budget_bytes=4_000_000_000,
    draining=True,
    models=(MODEL,),
    declined=(Declined("zoo/big@1", "cd" * 32, "needs 8 GB"),),
)
OTHER = WorkerPresence("worker-2", "127.0.0.1:7002", "cpu", 1_800_000_001.0)


@dataclass
class Driver:
    """A Presence, and how to let the lifetime of what was announced before pass at once."""

    presence: Presence
    let_lifetime_pass: Callable[[], Awaitable[None]]


@pytest.fixture(params=["memory", "redis"])
async def driver(request: pytest.FixtureRequest) -> AsyncIterator[Driver]:
    if request.param == "memory":
        clock = [0.0]

        async def advance() -> None:
            clock[0] += PRESENCE_TTL_S

        yield Driver(MemoryPresence(lambda: clock[0]), advance)
        return
    url: str = request.getfixturevalue("redis_url")

    async def expire() -> None:
        async with Redis.from_url(url) as redis:
            async for key in redis.scan_iter():
                assert 0 < await redis.pttl(key) <= PRESENCE_TTL_S * 1000
                await redis.pexpire(key, 0)

    async with open_presence(url) as presence:
        yield Driver(presence, expire)


async def test_what_a_worker_says_comes_back_as_it_said_it(driver: Driver) -> None:
    await driver.presence.announce(WORKER)
    assert await driver.presence.workers() == [WORKER]


async def test_workers_come_by_name_each_with_its_last_words(driver: Driver) -> None:
    await driver.presence.announce(OTHER)
    await driver.presence.announce(WORKER)
    busier = dataclasses.replace(OTHER, running=7)
    await driver.presence.announce(busier)
    assert await driver.presence.workers() == [WORKER, busier]


async def test_nobody_is_there_at_first(driver: Driver) -> None:
    assert await driver.presence.workers() == []


async def test_who_falls_silent_is_forgotten(driver: Driver) -> None:
    await driver.presence.announce(WORKER)
    await driver.let_lifetime_pass()
    await driver.presence.announce(OTHER)
    assert await driver.presence.workers() == [OTHER]


async def test_who_announces_again_stays(driver: Driver) -> None:
    await driver.presence.announce(WORKER)
    await driver.let_lifetime_pass()
    await driver.presence.announce(WORKER)
    assert await driver.presence.workers() == [WORKER]


async def test_withdrawing_twice_leaves_the_others(driver: Driver) -> None:
    await driver.presence.announce(WORKER)
    await driver.presence.announce(OTHER)
    await driver.presence.withdraw(WORKER.name)
    await driver.presence.withdraw(WORKER.name)
    assert await driver.presence.workers() == [OTHER]


async def test_of_hundreds_none_is_missed_while_others_come_and_go(driver: Driver) -> None:
    staying = [dataclasses.replace(OTHER, name=f"stay-{number:04}") for number in range(300)]
    for worker in staying:
        await driver.presence.announce(worker)

    async def come_and_go() -> None:
        for number in range(200):
            await driver.presence.announce(dataclasses.replace(OTHER, name=f"pass-{number}"))
            await driver.presence.withdraw(f"pass-{number}")

    async with asyncio.TaskGroup() as tasks:
        passing = tasks.create_task(come_and_go())
        while not passing.done():
            seen = [worker for worker in await driver.presence.workers() if worker.name.startswith("stay-")]
            assert seen == staying
            await asyncio.sleep(0)


async def test_entries_that_cannot_be_read_are_left_out_and_logged(
    redis_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    spoiled = {"a": "", "b": "[]", "c": '{"name": "c"}', "d": '{"name":"worker-9"', "e": "null", "f": b"\xff\xfe"}
    async with open_presence(redis_url) as presence, Redis.from_url(redis_url) as redis:
        await presence.announce(WORKER)
        taken = await redis.get("zoo:worker:worker-1")
        for name, value in (spoiled | {"impostor": taken}).items():
            await redis.set(f"zoo:worker:{name}", value)
        assert await presence.workers() == [WORKER]
    assert len(caplog.records) == len(spoiled) + 1


async def test_what_a_newer_worker_adds_is_passed_over(redis_url: str) -> None:
    async with open_presence(redis_url) as presence, Redis.from_url(redis_url) as redis:
        await presence.announce(WORKER)
        value = json.loads(await redis.get("zoo:worker:worker-1"))
        value["hat"] = "red"
        value["models"][0]["adapters"] = ["x"]
        await redis.set("zoo:worker:worker-1", json.dumps(value))
        assert await presence.workers() == [WORKER]


async def test_other_keys_are_no_workers(redis_url: str) -> None:
    async with open_presence(redis_url) as presence, Redis.from_url(redis_url) as redis:
        await redis.set("zoo:job:1", "{}")
        assert await presence.workers() == []


async def assert_away(presence: Presence) -> None:
    for doing in (presence.announce(WORKER), presence.workers(), presence.withdraw("x")):
        started = time.monotonic()
        with pytest.raises(Unavailable) as caught:
            await doing
        assert caught.value.reason == "DEPENDENCY_UNAVAILABLE"
        assert "127.0.0.1" not in caught.value.message
        assert time.monotonic() - started < 30


async def test_while_redis_is_away_it_says_so_and_afterwards_it_works_again() -> None:
    with redis_server() as server:
        async with open_presence(server.url()) as presence:
            await presence.announce(WORKER)
            server.kill()
            await assert_away(presence)
            server.start()
            await presence.announce(WORKER)
            assert await presence.workers() == [WORKER]


async def test_a_restart_between_two_calls_is_not_noticed() -> None:
    with redis_server() as server:
        async with open_presence(server.url()) as presence:
            await presence.announce(WORKER)
            server.kill()
            server.start()
            assert await presence.workers() == []


async def test_a_redis_that_never_answers_is_away() -> None:
    with redis_server() as server:
        async with proxy_before(server.port) as proxy, open_presence(f"redis://127.0.0.1:{proxy.port}/0") as presence:
            await presence.announce(WORKER)
            proxy.fault = BlackHole()
            await assert_away(presence)
            proxy.fault = Pass()
            assert await presence.workers() == [WORKER]


async def test_a_url_of_no_presence_is_refused() -> None:
    with pytest.raises(ValueError, match="a presence URL") as caught:
        async with open_presence("http://user:hidden@host"):
            pass
    assert "hidden" not in str(caught.value)
