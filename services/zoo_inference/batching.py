"""Dynamic batching: items of many requests computed together, the oldest first, beside others of its length."""

import asyncio
import logging
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from modelzoo.errors import Unavailable, ZooError

__all__ = ["BatchLimits", "Batcher"]

log = logging.getLogger(__name__)

Tokens = Sequence[int]
R = TypeVar("R")


@dataclass(frozen=True, slots=True)
class BatchLimits:
    """`tokens` counts padding. `delay_s` is how long a batch waits for company."""

    items: int = 32
    tokens: int = 8192
    delay_s: float = 0.002


@dataclass(slots=True)
class _Job(Generic[R]):
    """A request's items and the results so far."""

    started: Callable[[], None]
    results: list[R | None]
    missing: int
    done: asyncio.Future[None] = field(repr=False)


@dataclass(frozen=True, slots=True)
class _Item(Generic[R]):
    tokens: Tokens
    job: _Job[R]
    index: int


class Batcher(Generic[R]):
    """Calls `run` with batches, on a thread of its own. `run` gives one result for each of its token lists, in order.

    If it raises, the batch is halved until the culprit is alone: only its request fails, with ENGINE_FAILED.
    """

    def __init__(self, run: Callable[[Sequence[Tokens]], Sequence[R]], limits: BatchLimits) -> None:
        self._run = run
        self._limits = limits
        self._pending: list[_Item[R]] = []
        self._arrived = asyncio.Event()
        self._thread = ThreadPoolExecutor(1, "batches")
        self._task = asyncio.ensure_future(self._work())

    async def submit(self, items: Sequence[Tokens], started: Callable[[], None]) -> list[R]:
        """Results in the order of the items. `started` is called once the first of them is computed.

        Raises ENGINE_FAILED, or DRAINING when the batcher closes. Cancelling takes the items out of the queue.
        """
        if self._task.done():
            raise _draining()
        job: _Job[R] = _Job(started, [None] * len(items), len(items), asyncio.get_running_loop().create_future())
        self._pending += [_Item(tokens, job, index) for index, tokens in enumerate(items)]
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

    def _take(self) -> list[_Item[R]]:
        """The oldest item and those that fit beside it, in order of length."""
        # Those of requests that are over, for whatever reason, are nobody's any more.
        self._pending = [item for item in self._pending if not item.job.done.done()]
        if not self._pending:
            return []
        oldest = len(self._pending[0].tokens)
        taken: list[int] = []
        longest = 0
        nearest = sorted(range(len(self._pending)), key=lambda at: abs(len(self._pending[at].tokens) - oldest))
        for at in nearest:
            longest = max(longest, len(self._pending[at].tokens))
            if taken and (len(taken) >= self._limits.items or longest * (len(taken) + 1) > self._limits.tokens):
                break
            taken.append(at)
        chosen = set(taken)
        batch = [self._pending[at] for at in taken]
        self._pending = [item for at, item in enumerate(self._pending) if at not in chosen]
        return sorted(batch, key=lambda item: len(item.tokens))

    async def _compute(self, batch: list[_Item[R]]) -> None:
        loop = asyncio.get_running_loop()
        try:
            results = await loop.run_in_executor(self._thread, self._run, [item.tokens for item in batch])
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
