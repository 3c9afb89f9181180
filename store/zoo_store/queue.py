"""Queues: who of those who wait comes next, by rank, in each of several classes.

It is an order and never the truth: what is lost here is put again by whoever knows it. In Redis each class is a sorted
set `zoo:queue:<class>`, owned by the training service, without a time to live.
"""

from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from typing import Protocol
from urllib.parse import urlsplit

__all__ = ["Queue", "open_queue"]


class Queue(Protocol):
    """Every method raises Unavailable DEPENDENCY_UNAVAILABLE, within seconds beyond what it was to wait, where the
    store is away or full, and works again by itself when it is back."""

    async def put(self, resource_class: str, ranks: Mapping[str, float]) -> None:
        """Each of these entries waits in the class, once, at this rank, whether or not it did before."""
        ...

    async def pop(self, resource_class: str, wait_s: float) -> str | None:
        """Take out the entry of the lowest rank, of equal ones the first by name; nobody else gets it then. Waits up to
        `wait_s` for one, 0: not at all, and returns None where none came.

        Whoever dies with an entry in its hands, or is cancelled here, has lost it.
        """
        ...

    async def remove(self, resource_class: str, entry: str) -> None:
        """The entry does not wait any more. Idempotent."""
        ...

    async def size(self, resource_class: str) -> int:
        """How many entries wait."""
        ...


@asynccontextmanager
async def open_queue(url: str) -> AsyncGenerator[Queue]:
    """A queue in the Redis that `url` names (`redis://host:port/database`), or, with `memory://`, in this process.

    Does not ask whether Redis is there: it may come later. Raises ValueError for another URL.
    """
    # Drivers are imported where they are chosen, so that nobody loads the libraries of the others.
    scheme = urlsplit(url).scheme
    if scheme == "memory":
        from zoo_store.queue_memory import MemoryQueue

        yield MemoryQueue()
    elif scheme in ("redis", "rediss"):
        from zoo_store.queue_redis import RedisQueue

        async with RedisQueue.open(url) as queue:
            yield queue
    else:
        raise ValueError("a queue URL begins with redis://, rediss:// or memory://")
