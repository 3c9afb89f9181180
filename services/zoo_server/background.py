"""What a service does beside its calls: for as long as it serves, and whatever goes wrong meanwhile."""

import asyncio
import logging
import random
from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager, suppress
from typing import Any, NoReturn

from modelzoo.errors import ZooError

__all__ = ["beside", "repeat"]

log = logging.getLogger(__name__)


@asynccontextmanager
async def beside(work: Coroutine[Any, Any, object], name: str) -> AsyncGenerator[None]:
    """Do `work` in a task of that name while the block runs; at its end it is cancelled and waited for."""
    task = asyncio.create_task(work, name=name)
    try:
        yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def repeat(
    work: Callable[[], Awaitable[object]], otherwise: str, every_s: float, again_s: float | None = None
) -> NoReturn:
    """Do `work` again and again with so much time in between, or `again_s` after an error; a fifth more or less, so
    that replicas do not all do it at once. An error is only logged, behind `otherwise`, and never the last thing done.
    """
    while True:
        wait_s = every_s
        try:
            await work()
        except ZooError as error:
            log.warning("%s: %s", otherwise, error.message)
            wait_s = every_s if again_s is None else again_s
        except Exception:  # the service serves on, whatever is wrong with this
            log.exception(otherwise)
        await asyncio.sleep(wait_s * random.uniform(0.8, 1.2))  # noqa: S311 - no secret
