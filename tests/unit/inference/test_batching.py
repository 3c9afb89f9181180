"""Dynamic batching."""

import asyncio
import threading
from collections.abc import AsyncIterator, Sequence

import pytest

from modelzoo.errors import Unavailable
from zoo_inference.batching import Batcher, BatchLimits

POISON, LOST = 666, 667
ByLength = Batcher[list[int], int]


class Lengths:
    """Answers each item's length, but of one with LOST in it; remembers its batches; fails over one with POISON."""

    def __init__(self) -> None:
        self.batches: list[list[int]] = []
        self.go = threading.Event()
        self.go.set()

    def __call__(self, batch: Sequence[Sequence[int]]) -> list[int]:
        self.go.wait(10)
        self.batches.append([len(tokens) for tokens in batch])
        if any(POISON in tokens for tokens in batch):
            raise RuntimeError("poisoned")
        return [len(tokens) for tokens in batch if LOST not in tokens]


@pytest.fixture
def lengths() -> Lengths:
    return Lengths()


@pytest.fixture
async def batcher(lengths: Lengths) -> AsyncIterator[ByLength]:
    batcher = Batcher(lengths, len, BatchLimits(items=4, cost=40, delay_s=0.001))
    yield batcher
    lengths.go.set()
    await batcher.close()


def nothing() -> None:
    pass


def items(*sizes: int) -> list[list[int]]:
    return [[1] * size for size in sizes]


async def test_requests_that_come_together_are_computed_together(batcher: ByLength, lengths: Lengths) -> None:
    results = await asyncio.gather(*(batcher.submit(items(size), nothing) for size in (3, 1, 2)))
    assert results == [[3], [1], [2]]
    assert lengths.batches == [[1, 2, 3]]


async def test_results_come_in_the_order_of_the_items(batcher: ByLength, lengths: Lengths) -> None:
    sizes = [9, 1, 7, 2, 8, 3, 12, 1]
    assert await batcher.submit(items(*sizes), nothing) == sizes
    assert all(len(batch) <= 4 and max(batch) * len(batch) <= 40 for batch in lengths.batches)


async def test_an_item_over_the_budget_is_computed_alone(batcher: ByLength, lengths: Lengths) -> None:
    assert await batcher.submit(items(100, 1), nothing) == [100, 1]
    assert lengths.batches == [[100], [1]]


async def test_the_oldest_is_never_passed_over(batcher: ByLength, lengths: Lengths) -> None:
    lengths.go.clear()
    first = asyncio.ensure_future(batcher.submit(items(1), nothing))
    await asyncio.sleep(0.02)
    long = asyncio.ensure_future(batcher.submit(items(30), nothing))
    await asyncio.sleep(0)
    short = asyncio.ensure_future(batcher.submit(items(*[1] * 12), nothing))
    await asyncio.sleep(0)
    lengths.go.set()
    await asyncio.gather(first, long, short)
    assert lengths.batches[1] == [30]


@pytest.mark.parametrize("culprit", [POISON, LOST])
async def test_only_the_culprit_fails(batcher: ByLength, culprit: int) -> None:
    bad = batcher.submit([[1], [culprit]], nothing)
    results = await asyncio.gather(
        batcher.submit(items(1), nothing), bad, batcher.submit(items(2), nothing), return_exceptions=True
    )
    assert (results[0], results[2]) == ([1], [2])
    assert isinstance(results[1], Unavailable)
    assert results[1].reason == "ENGINE_FAILED"


async def test_what_was_cancelled_is_not_computed(batcher: ByLength, lengths: Lengths) -> None:
    lengths.go.clear()
    first = asyncio.ensure_future(batcher.submit(items(1), nothing))
    await asyncio.sleep(0.02)
    gone = asyncio.ensure_future(batcher.submit(items(2, 2, 2), nothing))
    await asyncio.sleep(0)
    gone.cancel()
    lengths.go.set()
    await first
    assert await batcher.submit(items(3), nothing) == [3]
    assert lengths.batches == [[1], [3]]


async def test_a_request_has_started_when_its_first_item_is_computed(batcher: ByLength, lengths: Lengths) -> None:
    lengths.go.clear()
    started: list[str] = []
    first = asyncio.ensure_future(batcher.submit(items(1), lambda: started.append("first")))
    await asyncio.sleep(0.02)
    second = asyncio.ensure_future(batcher.submit(items(1), lambda: started.append("second")))
    await asyncio.sleep(0.02)
    assert started == ["first"]
    lengths.go.set()
    await asyncio.gather(first, second)
    assert started == ["first", "second"]


async def test_closing_ends_what_waits(lengths: Lengths) -> None:
    batcher = Batcher(lengths, len, BatchLimits(delay_s=10))
    waits = asyncio.ensure_future(batcher.submit(items(1), nothing))
    await asyncio.sleep(0)
    await batcher.close()
    for ended in (waits, batcher.submit(items(1), nothing)):
        with pytest.raises(Unavailable) as caught:
            await ended
        assert caught.value.reason == "DRAINING"


async def test_a_request_of_one_item_does_not_wait_for_all_of_a_long_one(lengths: Lengths) -> None:
    batcher: ByLength = Batcher(lengths, len, BatchLimits(items=4, cost=40, delay_s=0.001))
    lengths.go.clear()
    long = asyncio.ensure_future(batcher.submit(items(*[1] * 40), nothing))
    await asyncio.sleep(0)
    short = asyncio.ensure_future(batcher.submit(items(1), nothing))
    await asyncio.sleep(0)
    lengths.go.set()
    await short
    assert not long.done()
    assert await long == [1] * 40
    await batcher.close()


async def test_a_request_of_nothing_is_answered_at_once(batcher: ByLength) -> None:
    assert await batcher.submit([], nothing) == []
