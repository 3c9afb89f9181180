"""The one allowed wait."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

T = TypeVar("T")

POLL_S = 0.05


async def eventually(probe: Callable[[], Awaitable[T]], *, within_s: float = 30.0) -> T:
    """The first truthy value of `probe`, or AssertionError with its last value or exception after `within_s`."""
    deadline = time.monotonic() + within_s
    while True:
        last: object
        try:
            value = await probe()
            if value:
                return value
            last = value
        except Exception as error:  # a server that is not up yet raises what it likes
            last = error
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {within_s} s; last: {last!r}")
        await asyncio.sleep(POLL_S)
