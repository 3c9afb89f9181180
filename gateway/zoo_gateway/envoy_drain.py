"""Lets Envoy finish what it carries before it ends, through its admin port."""

import asyncio
from contextlib import suppress
from dataclasses import dataclass

from zoo_server.loopback import exchange

__all__ = ["EnvoyDrain"]

POLL_S = 0.1
ACTIVE = "http.main.downstream_rq_active"


@dataclass(frozen=True, slots=True)
class EnvoyDrain:
    """New connections are refused, callers are told to go elsewhere, calls in flight have `limit_s` to finish."""

    admin_port: int
    limit_s: float

    async def drain(self) -> None:
        """Return when no call is in flight, time is up, or Envoy does not answer."""
        # Graceful, so that open connections are told before the listeners close.
        await exchange(self.admin_port, "POST", "/drain_listeners?graceful")
        with suppress(TimeoutError):
            async with asyncio.timeout(self.limit_s):
                await self._until_idle()

    async def _until_idle(self) -> None:
        while True:
            reply = await exchange(self.admin_port, "GET", f"/stats?filter=^{ACTIVE}$")
            _, _, count = reply.body.partition(f"{ACTIVE}: ")
            if count.strip() in ("", "0"):
                return
            await asyncio.sleep(POLL_S)
