"""Reads the node cache again while the worker has nothing to do, slowly, so that damage at rest is found in time."""

import asyncio
import logging
import threading
from collections.abc import Callable

from modelzoo.cache import NodeCache
from modelzoo.cache_scrub import scrub_when_due

__all__ = ["Scrubber"]

EVERY_S = 7 * 24 * 3600.0
LOOK_S = 600.0  # between two looks whether it is due
RATE_BYTES_S = 32 * 1024 * 1024
BUSY_WAIT_S = 1.0

_log = logging.getLogger(__name__)


class Scrubber:
    """Scrubs one node cache, which other processes of the node may scrub, too: one of them does at a time."""

    def __init__(self, cache: NodeCache, is_idle: Callable[[], bool], every_s: float = EVERY_S) -> None:
        self._cache = cache
        self._is_idle = is_idle
        self._every_s = every_s

    async def run(self) -> None:
        """Scrub whenever it is due, until cancelled."""
        while True:
            await self.scrub()
            await asyncio.sleep(LOOK_S)

    async def scrub(self) -> list[str]:
        """Scrub if it is due; the SHA-256 of what was damaged and so removed. Cancelled, it stops within a piece."""
        pace = _Pace(self._is_idle)
        try:
            damaged = await asyncio.to_thread(self._scrub, pace)
        finally:
            pace.stopped.set()
        if damaged:
            _log.warning("scrubbing found damaged files", extra={"files": damaged})
        return damaged

    def _scrub(self, pace: "_Pace") -> list[str]:
        try:
            return scrub_when_due(self._cache, self._every_s, pace)
        except _Stopped:
            return []
        except OSError:
            # A disk that fails here fails whoever needs the file, too, and tells them.
            _log.exception("scrubbing the cache failed")
            return []


class _Stopped(Exception):
    """Ends a scrub from within."""


class _Pace:
    """A Progress that takes its time: RATE_BYTES_S while the worker is idle, nothing while it is not."""

    def __init__(self, is_idle: Callable[[], bool]) -> None:
        self.stopped = threading.Event()
        self._is_idle = is_idle

    def start(self, total_bytes: int) -> None:
        pass

    def skip(self, count_bytes: int) -> None:
        pass

    def advance(self, count_bytes: int) -> None:
        self.stopped.wait(count_bytes / RATE_BYTES_S)
        while not self._is_idle() and not self.stopped.is_set():
            self.stopped.wait(BUSY_WAIT_S)
        if self.stopped.is_set():
            raise _Stopped
