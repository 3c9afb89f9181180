"""Sweeps and scrubs that nobody asks for: daily, weekly, and a rebuild of the index where it is needed."""

import asyncio
import logging
import random
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from dataclasses import dataclass
from datetime import timedelta

from modelzoo.errors import ZooError
from zoo_artifact.upkeep import Upkeep

__all__ = ["Schedule", "keep_up"]

# How often is looked whether something is due.
LOOK_S = 60.0
AGAIN_S = 5.0

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Schedule:
    """Intervals of zero: never. A scrub reads that share of the blobs, so many bytes a second at most."""

    sweep_interval: timedelta
    scrub_interval: timedelta
    scrub_sample: float
    scrub_bytes_per_s: float


async def keep_up(upkeep: Upkeep, schedule: Schedule, *, rebuild: bool) -> None:
    """Rebuild the index first, if wanted; then sweep and scrub when it is time, for ever."""
    if rebuild:
        while not await _done(upkeep.rebuild(), "rebuild of the index"):  # noqa: ASYNC110 - nobody could tell us
            await asyncio.sleep(AGAIN_S)
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(_repeat(lambda: upkeep.is_due("sweep", schedule.sweep_interval), upkeep.sweep, "sweep"))
        tasks.create_task(
            _repeat(
                lambda: upkeep.is_due("scrub", schedule.scrub_interval),
                lambda: upkeep.scrub(schedule.scrub_sample, schedule.scrub_bytes_per_s),
                "scrub",
            )
        )


async def _repeat(is_due: Callable[[], Awaitable[bool]], work: Callable[[], AsyncGenerator[object]], what: str) -> None:
    while True:
        # Apart, so that replicas do not look all at once.
        await asyncio.sleep(LOOK_S * random.uniform(0.8, 1.2))  # noqa: S311 - no secret
        try:
            due = await is_due()
        except ZooError as error:
            log.warning("whether a %s is due cannot be told: %s", what, error.message)
            continue
        if due:
            await _done(work(), what)


async def _done(work: AsyncGenerator[object], what: str) -> bool:
    """Whether it came to its end; what keeps it from that is logged, and it is tried again later."""
    try:
        async with aclosing(work) as events:
            async for _ in events:
                pass
    except ZooError as error:
        log.warning("the %s did not come to its end: %s %s", what, error.reason, error.message)
        return False
    except Exception:  # the service serves on, whatever is wrong with its upkeep
        log.exception("the %s failed", what)
        return False
    return True
