"""A queue in Redis, one sorted set for each class."""

import time
from collections.abc import AsyncGenerator, Generator, Mapping
from contextlib import asynccontextmanager, contextmanager
from typing import cast

from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError, RedisError

from modelzoo.errors import Unavailable

__all__ = ["RedisQueue"]

KEY_PREFIX = "zoo:queue:"
TIMEOUT_S = 1.0
# A wait is several such ones, so that a Redis that is gone without a word is noticed.
SLICE_S = 1.0
# Redis waits for ever where it is told to wait for 0.
SHORTEST_S = 0.01
RETRY_AFTER_S = 1.0


class RedisQueue:
    """A Queue in Redis 6.2 or newer, by ZADD, ZREM, ZCARD, ZPOPMIN and BZPOPMIN. `waiting` is a client of its own for
    calls that wait."""

    def __init__(self, redis: Redis, waiting: Redis) -> None:
        self._redis = redis
        self._waiting = waiting

    @classmethod
    @asynccontextmanager
    async def open(cls, url: str) -> AsyncGenerator["RedisQueue"]:
        redis, waiting = _client(url, TIMEOUT_S), _client(url, SLICE_S + TIMEOUT_S)
        try:
            yield cls(redis, waiting)
        finally:
            await waiting.aclose()
            await redis.aclose()

    async def put(self, resource_class: str, ranks: Mapping[str, float]) -> None:
        if ranks:
            with _translated():
                await self._redis.zadd(KEY_PREFIX + resource_class, dict(ranks))

    async def pop(self, resource_class: str, wait_s: float) -> str | None:
        key = KEY_PREFIX + resource_class
        end = time.monotonic() + wait_s
        with _translated():
            if wait_s <= 0:
                taken = cast(list[tuple[bytes, float]], await self._redis.zpopmin(key))
                return taken[0][0].decode() if taken else None
            while (left_s := end - time.monotonic()) > 0:
                wait = self._waiting.bzpopmin(key, max(min(left_s, SLICE_S), SHORTEST_S))
                found = cast(tuple[bytes, bytes, float] | None, await wait)
                if found is not None:
                    return found[1].decode()
        return None

    async def remove(self, resource_class: str, entry: str) -> None:
        with _translated():
            await self._redis.zrem(KEY_PREFIX + resource_class, entry)

    async def size(self, resource_class: str) -> int:
        with _translated():
            return await self._redis.zcard(KEY_PREFIX + resource_class)


def _client(url: str, timeout_s: float) -> Redis:
    return Redis.from_url(  # pyright: ignore[reportUnknownMemberType] - its **kwargs have no types
        url,
        socket_connect_timeout=TIMEOUT_S,
        socket_timeout=timeout_s,
        # Once, and only for a connection that broke: after a restart of Redis every kept one has.
        retry=Retry(NoBackoff(), 1, supported_errors=(ConnectionError,)),
    )


@contextmanager
def _translated() -> Generator[None]:
    try:
        yield
    except (RedisError, OSError) as error:
        # The kind alone: messages name hosts.
        raise Unavailable(
            "DEPENDENCY_UNAVAILABLE",
            f"Redis, where jobs wait in order, does not answer ({type(error).__name__}); try again",
            retry_after_s=RETRY_AFTER_S,
        ) from error
