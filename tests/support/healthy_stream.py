"""Good requests, one after the other on a thread of its own, while a test does worse ones."""

import threading
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager

__all__ = ["HealthyStream", "healthy_stream"]

ANSWER_LIMIT_S = 60.0


class HealthyStream:
    """Asks until it is stopped. Every answer must be the first one; the first that is not ends it."""

    def __init__(self, ask: Callable[[], object]) -> None:
        self._ask = ask
        self._expected = ask()
        self._answers = 0
        self._failure = ""
        self._changed = threading.Condition()
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    @contextmanager
    def beside(self) -> Generator[None]:
        """Requests were answered while the block ran, and one that began in it: all of them right."""
        before = self._answers
        yield
        # One may have been asked before the block, and one more may be under way.
        self._await(before + 2)

    def stop(self) -> None:
        self._stopped.set()
        self._thread.join(ANSWER_LIMIT_S)
        assert not self._failure, self._failure

    def _await(self, answers: int) -> None:
        deadline = time.monotonic() + ANSWER_LIMIT_S
        with self._changed:
            while self._answers < answers and not self._failure:
                assert self._changed.wait(deadline - time.monotonic()), f"only {self._answers} answers of {answers}"
        assert not self._failure, self._failure

    def _run(self) -> None:
        while not self._stopped.is_set() and not self._failure:
            failure = self._difference()
            with self._changed:
                self._answers += not failure
                self._failure = failure
                self._changed.notify_all()

    def _difference(self) -> str:
        try:
            answer = self._ask()
        # Whatever is raised here is what a healthy caller would have met.
        except Exception as error:
            return f"a healthy request failed: {error!r}"
        return "" if answer == self._expected else f"a healthy request got {answer}, not {self._expected}"


@contextmanager
def healthy_stream(ask: Callable[[], object]) -> Generator[HealthyStream]:
    """`ask` over and over again, until the end of the block, which fails where one of them was lost or wrong."""
    stream = HealthyStream(ask)
    try:
        yield stream
    finally:
        stream.stop()
