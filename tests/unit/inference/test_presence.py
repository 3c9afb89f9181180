"""Announcing, with Redis there and away."""

import asyncio
import logging
import time
from collections.abc import Sequence

import pytest

from modelzoo.errors import Unavailable
from support.waiting import eventually
from zoo_inference.presence import COALESCE_S, EVERY_S, Announcer
from zoo_store.presence import WorkerPresence


class PresenceInHand:
    """A Presence that remembers what it was told and when, and that a test can take away."""

    def __init__(self) -> None:
        self.away = False
        self.told: list[tuple[float, WorkerPresence]] = []
        self.withdrawn: list[str] = []

    async def announce(self, worker: WorkerPresence) -> None:
        if self.away:
            raise Unavailable("DEPENDENCY_UNAVAILABLE", "away")
        self.told.append((time.monotonic(), worker))

    async def withdraw(self, name: str) -> None:
        if self.away:
            raise Unavailable("DEPENDENCY_UNAVAILABLE", "away")
        self.withdrawn.append(name)

    async def workers(self) -> Sequence[WorkerPresence]:
        return []


@pytest.fixture
def presence() -> PresenceInHand:
    return PresenceInHand()


class Described:
    running = 0
    reachable = True

    def __call__(self) -> WorkerPresence | None:
        return WorkerPresence("w", "127.0.0.1:1", "cpu", 0.0, running=self.running) if self.reachable else None


async def test_changes_are_announced_at_once_and_those_close_together_as_one(presence: PresenceInHand) -> None:
    described = Described()
    announcer = Announcer(presence, described)
    task = asyncio.ensure_future(announcer.run())
    await eventually(lambda: told(presence, 0))
    for running in range(1, 6):
        described.running = running
        announcer.change()
    await eventually(lambda: told(presence, 5), within_s=EVERY_S / 2)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert [worker.running for _, worker in presence.told] == [0, 5]
    assert presence.told[1][0] - presence.told[0][0] >= COALESCE_S * 0.9
    assert presence.withdrawn == ["w"]


async def test_ending_just_when_something_changes_ends_it(presence: PresenceInHand) -> None:
    announcer = Announcer(presence, Described())
    task = asyncio.ensure_future(announcer.run())
    await eventually(lambda: told(presence, 0))
    await asyncio.sleep(COALESCE_S * 1.5)
    announcer.change()
    await asyncio.sleep(0)
    task.cancel()
    await asyncio.wait([task], timeout=1)
    assert task.done()
    assert presence.withdrawn == ["w"]


async def told(presence: PresenceInHand, running: int) -> bool:
    return any(worker.running == running for _, worker in presence.told)


async def test_nothing_is_said_before_the_worker_can_be_reached(presence: PresenceInHand) -> None:
    described = Described()
    described.reachable = False
    task = asyncio.ensure_future(Announcer(presence, described).run())
    await asyncio.sleep(0)
    assert presence.told == []
    described.reachable = True
    await eventually(lambda: told(presence, 0), within_s=EVERY_S / 2)
    task.cancel()


async def test_presence_that_is_away_is_logged_once_and_found_again(
    presence: PresenceInHand, caplog: pytest.LogCaptureFixture
) -> None:
    described = Described()
    announcer = Announcer(presence, described)
    presence.away = True
    with caplog.at_level(logging.WARNING):
        task = asyncio.ensure_future(announcer.run())
        for running in (1, 2, 3):
            described.running = running
            announcer.change()
            await asyncio.sleep(COALESCE_S)
        presence.away = False
        announcer.change()
        await eventually(lambda: told(presence, 3), within_s=EVERY_S / 2)
    task.cancel()
    assert len(caplog.records) == 1
