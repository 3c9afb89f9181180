"""Presence in Redis, one key for each worker, kept alive by its announcements."""

import logging
from collections.abc import AsyncGenerator, AsyncIterator, Generator, Sequence
from contextlib import asynccontextmanager, contextmanager
from typing import cast

from pydantic import TypeAdapter, ValidationError
from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError, RedisError

from modelzoo.errors import Unavailable
from zoo_store.presence import PRESENCE_TTL_S, WorkerPresence

__all__ = ["RedisPresence"]

KEY_PREFIX = "zoo:worker:"
TIMEOUT_S = 1.0
SCAN_COUNT = 100
RETRY_AFTER_S = 1.0

_JSON = TypeAdapter(WorkerPresence)

log = logging.getLogger(__name__)


class RedisPresence:
    """A Presence in Redis 6.2 or newer."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis

    @classmethod
    @asynccontextmanager
    async def open(cls, url: str) -> AsyncGenerator["RedisPresence"]:
        redis: Redis = Redis.from_url(  # pyright: ignore[reportUnknownMemberType] - its **kwargs have no types
            url,
            socket_connect_timeout=TIMEOUT_S,
            socket_timeout=TIMEOUT_S,
            # Once, and only for a connection that broke: after a restart of Redis every kept one has.
            retry=Retry(NoBackoff(), 1, supported_errors=(ConnectionError,)),
        )
        try:
            yield cls(redis)
        finally:
            await redis.aclose()

    async def announce(self, worker: WorkerPresence) -> None:
        with _translated():
            await self._redis.set(KEY_PREFIX + worker.name, _JSON.dump_json(worker), ex=PRESENCE_TTL_S)

    async def withdraw(self, name: str) -> None:
        with _translated():
            await self._redis.delete(KEY_PREFIX + name)

    async def workers(self) -> Sequence[WorkerPresence]:
        with _translated():
            # A scan may give a key twice, but never misses one that is there all the while.
            scan = cast(
                AsyncIterator[bytes],
                self._redis.scan_iter(f"{KEY_PREFIX}*", SCAN_COUNT),  # pyright: ignore[reportUnknownMemberType]
            )
            keys = sorted({key async for key in scan})
            values = await self._redis.mget(keys) if keys else []
        found = [_read(key, value) for key, value in zip(keys, values, strict=True) if value is not None]
        return [worker for worker in found if worker is not None]


def _read(key: bytes, value: bytes | str) -> WorkerPresence | None:
    try:
        worker = _JSON.validate_json(value)
    except ValidationError as error:
        log.warning("presence entry %s cannot be read: %d faults", key.decode(errors="replace"), error.error_count())
        return None
    if key != f"{KEY_PREFIX}{worker.name}".encode():
        log.warning("presence entry %s names another worker", key.decode(errors="replace"))
        return None
    return worker


@contextmanager
def _translated() -> Generator[None]:
    try:
        yield
    except (RedisError, OSError) as error:
        # The kind alone: messages name hosts.
        raise Unavailable(
            "DEPENDENCY_UNAVAILABLE",
            f"Redis, where workers announce themselves, does not answer ({type(error).__name__}); try again",
            retry_after_s=RETRY_AFTER_S,
        ) from error
