"""Inputs made ready for a model: decoded, resized, tokenised, on threads of their own and so many at once."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractAsyncContextManager
from typing import ParamSpec, TypeVar

from modelzoo.tasks.task import Task

__all__ = ["Preparation"]

P = ParamSpec("P")
R = TypeVar("R")

THREADS = 4
# Inputs that may lie in memory decoded, and bytes of the largest: a picture within its limits while it is resized and
# 0.6 MB after that, half an hour of sound with its features 175 MB.
AT_ONCE = {Task.CLASSIFY_IMAGE: 64, Task.DETECT_OBJECTS: 16, Task.TRANSCRIBE: 8}


class Preparation:
    """Threads that prepare, and places for what they made."""

    def __init__(self) -> None:
        self._threads = ThreadPoolExecutor(THREADS, "prepare")
        self._places = {task: asyncio.Semaphore(most) for task, most in AT_ONCE.items()}

    def place(self, task: Task) -> AbstractAsyncContextManager[None]:
        """Hold a place for a decoded input for the length of the block; waits for one."""
        return self._places[task]

    async def do(self, work: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        """The result of the call, made on one of the threads."""
        return await asyncio.get_running_loop().run_in_executor(self._threads, lambda: work(*args, **kwargs))

    async def close(self) -> None:
        """Wait for what is being prepared."""
        await asyncio.to_thread(self._threads.shutdown)
