"""A number of places for work that all goes to one store; who is stuck there does not keep the others out."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

__all__ = ["Places"]


class Places:
    """`count` at once, not counting those that have stayed for longer than `patience_s`."""

    def __init__(self, count: int, patience_s: float) -> None:
        self._free = asyncio.Semaphore(count)
        self._patience_s = patience_s

    @asynccontextmanager
    async def place(self) -> AsyncGenerator[None]:
        """Wait for a place and have it for the length of the block, or until patience ends."""
        await self._free.acquire()
        has_it = True

        def give_back() -> None:
            nonlocal has_it
            if has_it:
                has_it = False
                self._free.release()

        impatience = asyncio.get_running_loop().call_later(self._patience_s, give_back)
        try:
            yield
        finally:
            impatience.cancel()
            give_back()
