"""What references mean, asked of the catalog no more than needed, and known for a while without it."""

import asyncio
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

from modelzoo.errors import DeadlineExceeded, Unavailable
from modelzoo.reference import Digest, parse
from modelzoo.reference import Version as Number
from zoo_inference.catalog import Catalog, Version
from zoo_inference.freshness import FRESH_S, STALE_AT_MOST_S

__all__ = ["Resolver"]

REMEMBERED_MOST = 4096


@dataclass(frozen=True, slots=True)
class _Known:
    version: Version
    at: float


class Resolver:
    """Answers as the catalog does, at most FRESH_S behind it: what a number means never changes, but whether it may be
    run does.

    While the catalog is away the last answer holds for STALE_AT_MOST_S; of a number or digest, whose manifest never
    changes, for as long as it is remembered.
    """

    def __init__(self, catalog: Catalog, clock: Callable[[], float] = time.monotonic) -> None:
        self._catalog = catalog
        self._clock = clock
        self._known: OrderedDict[str, _Known] = OrderedDict()
        self._asking: dict[str, asyncio.Task[Version]] = {}

    async def resolve(self, reference: str) -> Version:
        """The version; raises what Catalog.version raises, REFERENCE_INVALID without asking."""
        parsed = parse(reference)
        key = str(parsed)
        fixed = isinstance(parsed.selector, Number | Digest)
        known = self._known.get(key)
        if known is not None and self._clock() - known.at < FRESH_S:
            self._known.move_to_end(key)
            return known.version
        try:
            return await self._ask(key)
        except (Unavailable, DeadlineExceeded):
            if known is None or not (fixed or self._clock() - known.at <= STALE_AT_MOST_S):
                raise
            return known.version

    async def _ask(self, key: str) -> Version:
        """One question at a time for each reference, whoever asks; it outlives those who lose patience."""
        task = self._asking.get(key)
        if task is None:
            task = self._asking[key] = asyncio.ensure_future(self._catalog.version(key))
            task.add_done_callback(lambda done: self._answered(key, done))
        return await asyncio.shield(task)

    def _answered(self, key: str, task: asyncio.Task[Version]) -> None:
        del self._asking[key]
        # Asking for the exception also marks it as seen, should nobody wait any more.
        error = None if task.cancelled() else task.exception()
        if error is not None and not isinstance(error, Unavailable | DeadlineExceeded):
            # Refused by the catalog itself: what was known before holds no longer, even when that goes away.
            self._known.pop(key, None)
        if task.cancelled() or error is not None:
            return
        self._known[key] = _Known(task.result(), self._clock())
        self._known.move_to_end(key)
        while len(self._known) > REMEMBERED_MOST:
            self._known.popitem(last=False)
