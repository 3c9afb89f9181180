"""A thread on which one model's tokenizer works, and nothing else.

A tokenizer is data that came with the model. There are settings with which it takes hours over a text of one repeated
character, and nothing inside a process can stop it. On a thread of its own it holds up nobody but its model's callers,
and they are told.
"""

import asyncio
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from queue import SimpleQueue
from typing import Any, TypeVar

from modelzoo.errors import FailedPrecondition

__all__ = ["TextThread"]

R = TypeVar("R")

# A real tokenizer is through with the most that a request may hold before that.
LIMIT_S = 60.0


class TextThread:
    """Does one thing at a time, in order. It does not keep the process from ending."""

    def __init__(self, limit_s: float = LIMIT_S) -> None:
        self._limit_s = limit_s
        self._waiting: SimpleQueue[tuple[Future[Any], Callable[[], Any]] | None] = SimpleQueue()
        self._began: float | None = None
        threading.Thread(target=self._run, name="tokenizer", daemon=True).start()

    async def do(self, work: Callable[[], R]) -> R:
        """What `work` gives. TOKENIZER_STUCK once it, or what was begun before it, has taken longer than the limit.

        Who is cancelled no longer waits; what has begun goes on.
        """
        future: Future[R] = Future()
        self._waiting.put((future, work))
        asked = asyncio.wrap_future(future)
        try:
            while not asked.done():
                if not (left_s := self._left_s()):
                    raise _stuck(self._limit_s)
                await asyncio.wait((asked,), timeout=left_s)
            return asked.result()
        finally:
            asked.cancel()

    def close(self) -> None:
        """Take nothing more; the thread ends with what it does now."""
        self._waiting.put(None)

    def _left_s(self) -> float:
        began = self._began
        return self._limit_s if began is None else max(0.0, began + self._limit_s - time.monotonic())

    def _run(self) -> None:
        while (item := self._waiting.get()) is not None:
            future, work = item
            if not future.set_running_or_notify_cancel():
                continue
            self._began = time.monotonic()
            try:
                result = work()
            except BaseException as error:  # noqa: BLE001 - it is whoever asked who has to know
                future.set_exception(error)
            else:
                future.set_result(result)
            finally:
                self._began = None


def _stuck(limit_s: float) -> FailedPrecondition:
    return FailedPrecondition(
        "TOKENIZER_STUCK",
        f"the model's tokenizer has worked at one text for more than {limit_s:g} s, so that this worker cannot use the "
        "model: look at the tokenizer that was published with it, or send shorter texts",
    )
