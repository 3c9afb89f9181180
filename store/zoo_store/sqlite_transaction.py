"""SQLite transactions whose statements run to their end, whoever is cancelled meanwhile.

A statement runs on a thread and cannot be called back. SQLAlchemy gives up the connection of a cancelled one while
the thread still works on it, and SQLite keeps a connection with an unfinished statement, and its locks, alive behind
`close`: nobody could write until the garbage collector comes by. So a cancellation waits for the statement that runs;
then the transaction is rolled back in order.
"""

import asyncio
import builtins
from collections.abc import AsyncGenerator, Callable, Coroutine
from contextlib import asynccontextmanager, suppress
from typing import Any, TypeVar

from sqlalchemy import CursorResult
from sqlalchemy.exc import TimeoutError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

__all__ = ["Connections", "begin"]

T = TypeVar("T")


class Connections:
    """Of one engine: as many at a time as it may have."""

    def __init__(self, engine: AsyncEngine, most: int, wait_s: float) -> None:
        self.engine = engine
        self._most = most
        self._turns = asyncio.Semaphore(most)
        self._wait_s = wait_s

    async def close(self) -> None:
        """Close all of them, once those that hold one have given it back: the pool closes none that is lent.

        A call that was cancelled may still be at its last statement. Whoever holds one for longer than a caller
        would wait is left behind.
        """
        with suppress(builtins.TimeoutError):
            async with asyncio.timeout(self._wait_s):
                for _ in range(self._most):
                    await self._turns.acquire()
        await self.engine.dispose()

    @asynccontextmanager
    async def connect(self) -> AsyncGenerator[AsyncConnection]:
        """A connection; what it began and did not commit is rolled back at the end.

        Raises SQLAlchemy's TimeoutError where none is free for as long as a caller waits.
        """
        # Here, not in the pool: whoever is cancelled while it waits leaves at once.
        try:
            async with asyncio.timeout(self._wait_s):
                await self._turns.acquire()
        except builtins.TimeoutError:
            raise TimeoutError(f"others held every connection for {self._wait_s:g} s") from None
        connection = _Connection(self.engine)
        try:
            await _whole(connection.start())
            yield connection
        finally:
            try:
                if connection.sync_connection is not None:
                    await _whole(connection.close())
            finally:
                self._turns.release()


@asynccontextmanager
async def begin(connection: AsyncConnection) -> AsyncGenerator[None]:
    """A transaction, committed at the end of the block, and rolled back if that raises or is cancelled."""
    await _whole(_started(connection))
    try:
        yield
    except BaseException:
        await _whole(connection.rollback())
        raise
    await _whole(connection.commit())


class _Connection(AsyncConnection):
    """All of AsyncConnection that the services use comes to these."""

    __slots__ = ()

    async def execute(self, *args: Any, **options: Any) -> CursorResult[Any]:
        return await _whole(super().execute(*args, **options))

    async def exec_driver_sql(self, *args: Any, **options: Any) -> CursorResult[Any]:
        return await _whole(super().exec_driver_sql(*args, **options))

    async def run_sync(self, fn: Callable[..., T], *args: Any, **options: Any) -> T:
        return await _whole(super().run_sync(fn, *args, **options))


async def _started(connection: AsyncConnection) -> None:
    await connection.begin()


async def _whole(work: Coroutine[Any, Any, T]) -> T:
    """What the coroutine returns or raises. Cancelled meanwhile: CancelledError, once it is at its end."""
    task = asyncio.create_task(work)
    cancelled: asyncio.CancelledError | None = None
    while not task.done():
        try:
            await asyncio.wait([task])
        except asyncio.CancelledError as error:
            cancelled = error
    if cancelled is None:
        return task.result()
    if not task.cancelled():
        task.exception()  # looked at, so that nobody warns of it
    raise cancelled
