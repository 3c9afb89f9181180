"""J12: namespaces share what there is, whatever each of them asks for; and nobody waits for ever."""

import random
from collections import Counter, deque
from dataclasses import dataclass, field

import pytest

from support.job_service import JobService, job_service
from zoo_store.queue import open_queue
from zoo_training.outcomes import Outcome
from zoo_training.policy import Policy
from zoo_training.ranks import PRIORITY_STEP, finish_tag, rank, start_tag


@dataclass
class Lane:
    weight: float = 1.0
    finish: float = 0.0
    start: float | None = None
    priorities: deque[int] = field(default_factory=deque)


class Simulation:
    """The pure functions as lanes use them, with one trainer that takes one job after another."""

    def __init__(self, weights: dict[str, float]) -> None:
        self.lanes = {name: Lane(weight) for name, weight in weights.items()}
        self.virtual = 0.0

    def submit(self, name: str, priority: int = 0, count: int = 1) -> None:
        lane = self.lanes[name]
        lane.priorities = deque(sorted([*lane.priorities, *[priority] * count], reverse=True))
        if lane.start is None:
            lane.start = start_tag(self.virtual, lane.finish)

    def next(self) -> str:
        waiting = [(lane, name) for name, lane in self.lanes.items() if lane.start is not None]
        _, name = min((rank(lane.start or 0.0, lane.priorities[0]), name) for lane, name in waiting)
        lane = self.lanes[name]
        assert lane.start is not None
        lane.priorities.popleft()
        self.virtual = max(self.virtual, lane.start)
        lane.finish = finish_tag(lane.start, lane.weight)
        lane.start = lane.finish if lane.priorities else None
        return name

    def starts(self, count: int) -> Counter[str]:
        return Counter(self.next() for _ in range(count))


def test_ten_times_as_many_jobs_are_not_ten_times_as_many_starts() -> None:
    zoo = Simulation({"many": 1, "few": 1})
    started: Counter[str] = Counter()
    for _ in range(100):
        zoo.submit("many", count=10)
        zoo.submit("few")
        started += zoo.starts(2)
    assert 0.8 <= started["many"] / started["few"] <= 1.2


def test_starts_follow_weights() -> None:
    zoo = Simulation({"a": 3, "b": 1})
    for name in zoo.lanes:
        zoo.submit(name, count=400)
    assert 2.8 <= (started := zoo.starts(400))["a"] / started["b"] <= 3.2


def test_who_was_silent_has_saved_up_nothing_and_is_not_behind_either() -> None:
    zoo = Simulation({"busy": 1, "silent": 1})
    zoo.submit("busy", count=300)
    zoo.starts(100)
    zoo.submit("silent", count=100)
    started = [zoo.next() for _ in range(20)]
    assert "silent" in started[:2]
    assert Counter(started) == {"busy": 10, "silent": 10}


def test_a_low_priority_waits_for_so_many_starts_and_no_longer() -> None:
    zoo = Simulation({"low": 1, "high": 1})
    zoo.submit("low", -10)
    waited = 0
    zoo.submit("high", 10, count=2)
    while zoo.next() != "low":
        zoo.submit("high", 10)
        waited += 1
    assert waited <= 20 * PRIORITY_STEP + 1


@pytest.mark.parametrize("seed", range(5))
def test_whatever_is_asked_for_nobody_gets_more_than_one_start_ahead(seed: int) -> None:
    """Equal weights and priorities: of two who always have jobs, neither is ever two ahead of the other."""
    dice = random.Random(seed)
    zoo = Simulation({"a": 1, "b": 1, "c": 1})
    for name in "ab":
        zoo.submit(name, count=300)
    started: Counter[str] = Counter()
    for _ in range(400):
        if dice.random() < 0.3:
            zoo.submit("c", count=dice.randrange(1, 4))
        started[zoo.next()] += 1
        assert abs(started["a"] - started["b"]) <= 1


async def next_names(service: JobService, count: int) -> list[str]:
    names = []
    for _ in range(count):
        lease = await service.leased()
        names.append(lease.job.namespace)
        await service.release(lease, Outcome.HOPELESS, reason="X")
    return names


async def test_shares_hold_through_the_real_queue(redis_url: str, sqlite_url: str) -> None:
    policy = Policy(weights={"heavy": 2.0})
    async with open_queue(redis_url) as queue, job_service(sqlite_url, queue, policy, migrated=True) as service:
        for _ in range(30):
            await service.create("many/a")
        for output in ["few/a"] * 3 + ["heavy/a"] * 6:
            await service.create(output)
        assert Counter(await next_names(service, 12)) == {"many": 3, "few": 3, "heavy": 6}


async def test_a_priority_is_a_head_start_and_not_a_right_of_way(redis_url: str, sqlite_url: str) -> None:
    async with open_queue(redis_url) as queue, job_service(sqlite_url, queue, migrated=True) as service:
        for _ in range(10):
            await service.create("high/a", priority=1)
        for _ in range(3):
            await service.create("low/a")
        names = await next_names(service, 8)
        assert names[:5] == ["high"] * 5
        assert names[5:] in (["high", "low", "high"], ["low", "high", "low"])
