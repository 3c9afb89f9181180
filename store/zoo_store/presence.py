"""Presence: workers say what they are and do, every few seconds, and whoever has fallen silent is forgotten.

It is a hint and never the truth. It lives in Redis under `zoo:worker:<name>`, one JSON value for each worker, owned by
that worker, for PRESENCE_TTL_S.
"""

from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Protocol
from urllib.parse import urlsplit

__all__ = ["PRESENCE_TTL_S", "Declined", "LoadedModel", "Presence", "WorkerPresence", "open_presence"]

PRESENCE_TTL_S = 10


@dataclass(frozen=True, slots=True)
class LoadedModel:
    """A version in a worker's memory, or on its way there; `reference` is `namespace/name@number`. An adapter has the
    digest of its base's manifest beside its own."""

    reference: str
    manifest_digest: str
    task: str = ""
    loading: bool = False
    size_bytes: int = 0
    base_manifest_digest: str = ""


@dataclass(frozen=True, slots=True)
class Declined:
    """A version that the worker was to hold and cannot, and why: the next of the ranking takes over."""

    reference: str
    manifest_digest: str
    reason: str


@dataclass(frozen=True, slots=True)
class WorkerPresence:
    """What a worker says of itself. `address` is `ip:port`, `start_time` Unix seconds.

    `running` requests are being computed and `queued` wait; `capacity` of them are taken before QUEUE_FULL. Models take
    `used_bytes` of `budget_bytes` of memory. While `draining` it finishes what it has and takes no more.
    """

    name: str
    address: str
    resource_class: str
    start_time: float
    running: int = 0
    queued: int = 0
    capacity: int = 0
    used_bytes: int = 0
    budget_bytes: int = 0
    draining: bool = False
    models: tuple[LoadedModel, ...] = ()
    declined: tuple[Declined, ...] = ()


class Presence(Protocol):
    """Who is there. Every method raises Unavailable DEPENDENCY_UNAVAILABLE, within seconds, where the store is away,
    and works again by itself when it is back."""

    async def announce(self, worker: WorkerPresence) -> None:
        """From now on, for PRESENCE_TTL_S or until the next announcement of that name, this is what is known of it."""
        ...

    async def withdraw(self, name: str) -> None:
        """Nothing is known of that worker any more. Idempotent."""
        ...

    async def workers(self) -> Sequence[WorkerPresence]:
        """Who is there, each once, by name. One that is there all the while is not missed.

        What a newer worker says beyond this version's fields is passed over, and an entry that cannot be read is left
        out and logged.
        """
        ...


@asynccontextmanager
async def open_presence(url: str) -> AsyncGenerator[Presence]:
    """Presence in the Redis that `url` names (`redis://host:port/database`), or, with `memory://`, in this process.

    Does not ask whether Redis is there: it may come later. Raises ValueError for another URL.
    """
    # Drivers are imported where they are chosen, so that nobody loads the libraries of the others.
    scheme = urlsplit(url).scheme
    if scheme == "memory":
        from zoo_store.presence_memory import MemoryPresence

        yield MemoryPresence()
    elif scheme in ("redis", "rediss"):
        from zoo_store.presence_redis import RedisPresence

        async with RedisPresence.open(url) as presence:
            yield presence
    else:
        raise ValueError("a presence URL begins with redis://, rediss:// or memory://")
