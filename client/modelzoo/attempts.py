"""When a broken stream goes on, and when it gives up."""

import random
import threading
from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

from modelzoo.calls import is_broken, translated
from modelzoo.errors import ResourceExhausted, Unavailable, ZooError

__all__ = ["STARTS", "Attempts", "answers"]

T = TypeVar("T")

# A quarter of a minute in all: what is started again is back by then.
LIMIT = 8
STARTS = 4  # as often as gRPC calls a unary method
BACKOFF_FIRST_S = 0.2
BACKOFF_MAX_S = 5.0
# Of our own: what a process that was given a seed draws does not hang on how often the network failed.
_RANDOM = random.Random()  # noqa: S311 - no secret


class Attempts:
    """Counts failures in a row, of one transfer; `limit` of them are too many, None: as many as there may be. gRPC's
    own retry cannot serve here: it never repeats a stream that had answers, and see `modelzoo.retry_policy`."""

    def __init__(self, stopped: threading.Event, limit: int | None = LIMIT) -> None:
        self._stopped = stopped
        self.limit = limit
        self._failed = 0

    def progressed(self) -> None:
        """Something came through: the count begins afresh."""
        self._failed = 0

    def wait_after(self, error: ZooError) -> None:
        """Return when it is time to try again; raise `error` if that would not help, or not any more."""
        self._stopped.wait(self.pause_s(error))

    def pause_s(self, error: ZooError) -> float:
        """Seconds after which to try again; raises `error` if that would not help, or not any more."""
        self._failed += 1
        # What has once worked will work again when the server says: it may still count the stream that broke.
        is_full = self.limit is None and isinstance(error, ResourceExhausted) and bool(error.retry_after_s)
        may_help = isinstance(error, Unavailable) or is_broken(error) or is_full
        if not may_help or self._failed == self.limit or self._stopped.is_set():
            raise error
        # Spread, so that the streams of one transfer do not come back all at once.
        backoff_s = min(BACKOFF_MAX_S, BACKOFF_FIRST_S * 2 ** min(self._failed, 10)) * _RANDOM.uniform(0.5, 1.0)
        return error.retry_after_s or backoff_s


def answers(start: Callable[[], Iterable[T]]) -> Iterator[T]:
    """Those of a stream that `start` calls, and calls again where the call came back UNAVAILABLE before the first."""
    attempts = Attempts(threading.Event(), STARTS)
    began = False
    while True:
        try:
            with translated():
                for answer in start():
                    began = True
                    yield answer
        except Unavailable as error:
            if began:
                raise
            attempts.wait_after(error)
        else:
            return
