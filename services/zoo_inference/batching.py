"""Dynamic batching: items of many requests computed together, the oldest first, beside others of its size."""

import asyncio
import logging
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from modelzoo.errors import Unavailable, ZooError

__all__ = ["BatchLimits", "Batcher"]

log = logging.getLogger(__name__)

I = TypeVar("I")  # noqa: E741 - an item, as R is a result
R = TypeVar("R")


@dataclass(frozen=True, slots=True)
class BatchLimits:
    """`cost` counts each item as the largest beside it, as padding does. `delay_s` is how long a batch waits for
    company."""

    items: int = 32
    cost: int = 8192
    delay_s: float = 0.002


@dataclass(slots=True)
class _Job(Generic[R]):
    """A request's items and the results so far."""

    started: Callable[[], None]
    results: list[R | None]
    missing: int
    done: asyncio.Future[None] = field(repr=False)


@dataclass(frozen=True, slots=True)
class _Item(Generic[I, R]):
    content: I
    cost: int
    job: _Job[R]
    index: int


class Batcher(Generic[I, R]):
    """Calls `run` with batches, on a thread of its own. `run` gives one result for each of its items, in order.
    `cost_of` says what an item adds to a batch.

    If it raises, or gives another number of results, the batch is halved until the culprit is alone: only its request
    fails, with ENGINE_FAILED.
    """

    def __init__(
        self, run: Callable[[Sequence[I]], Sequence[R]], cost_of: Callable[[I], int], limits: BatchLimits
    ) -> None:
        self._run = run
        self._cost_of = cost_of
        self._limits = limits
        self._pending: list[_Item[I, R]] = []
        self._arrived = asyncio.Event()
        self._thread = ThreadPoolExecutor(1, "batches")
        self._task = asyncio.ensure_future(self._work())

    async def submit(self, items: Sequence[I], started: Callable[[], None]) -> list[R]:
        """Results in the order of the items. `started` is called once the first of them is computed.

        Raises ENGINE_FAILED, or DRAINING when the batcher closes. Cancelling takes the items out of the queue.
        """
        if self._task.done():
            raise _draining()
        if not items:
            return []
        job: _Job[R] = _Job(started, [None] * len(items), len(items), asyncio.get_running_loop().create_future())
        self._pending += [_Item(item, self._cost_of(item), job, index) for index, item in enumerate(items)]
        self._arrived.set()
        await job.done
        return [result for result in job.results if result is not None]

    async def close(self) -> None:
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)
        for item in self._pending:
            _end(item.job, _draining())
        self._thread.shutdown()

    async def _work(self) -> None:
        while True:
            await self._arrived.wait()
            if len(self._pending) < self._limits.items:
                await asyncio.sleep(self._limits.delay_s)
            batch = self._take()
            if not batch:
                self._arrived.clear()
                continue
            for item in batch:
                item.job.started()
            try:
                await self._compute(batch)
            except asyncio.CancelledError:
                for item in batch:
                    _end(item.job, _draining())
                raise

    def _take(self) -> list[_Item[I, R]]:
        """The oldest item and those that fit beside it, in order of cost."""
        # Those of requests that are over, for whatever reason, are nobody's any more.
        self._pending = [item for item in self._pending if not item.job.done.done()]
        if not self._pending:
            return []
        oldest = self._pending[0].cost
        taken: list[int] = []
        largest = 0

        # Of equals those that come early in their request, so that a long one does not hold up short ones.
        def company(at: int) -> tuple[bool, int, int]:
            return (at != 0, abs(self._pending[at].cost - oldest), self._pending[at].index)

        nearest = sorted(range(len(self._pending)), key=company)
        for at in nearest:
            largest = max(largest, self._pending[at].cost)
            if taken and (len(taken) >= self._limits.items or largest * (len(taken) + 1) > self._limits.cost):
                break
            taken.append(at)
        chosen = set(taken)
        batch = [self._pending[at] for at in taken]
        self._pending = [item for at, item in enumerate(self._pending) if at not in chosen]
        return sorted(batch, key=lambda item: item.cost)

    async def _compute(self, batch: list[_Item[I, R]]) -> None:
        loop = asyncio.get_running_loop()
        try:
            results = await loop.run_in_executor(self._thread, self._run, [item.content for item in batch])
            if len(results) != len(batch):
                raise ValueError(f"{len(results)} results")
        # A model can fail in every way there is.
        except Exception:
            log.exception("a batch of %d items failed", len(batch))
            if len(batch) == 1:
                _end(batch[0].job, _failed())
                return
            await self._compute(batch[: len(batch) // 2])
            await self._compute(batch[len(batch) // 2 :])
            return
        for item, result in zip(batch, results, strict=True):
            item.job.results[item.index] = result
            item.job.missing -= 1
            if item.job.missing == 0 and not item.job.done.done():
                item.job.done.set_result(None)


def _end(job: _Job[R], error: ZooError) -> None:
    if not job.done.done():
        job.done.set_exception(error)


def _failed() -> ZooError:
    return Unavailable("ENGINE_FAILED", "The computation of this request failed; retry it, perhaps on another worker.")


def _draining() -> ZooError:
    return Unavailable("DRAINING", "This worker is shutting down; retry reaches another.", retry_after_s=1.0)
