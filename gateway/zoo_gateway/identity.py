"""Swaps a caller's key for a short-lived signed principal, from a snapshot of keys and grants.

The snapshot is watched. While the watch is broken the last one serves for STALE_MOST_S, then every call is refused.
"""

import asyncio
import time
from collections.abc import Callable

from modelzoo.errors import Unavailable
from zoo_gateway.access import Access
from zoo_server.principal import LIFETIME_S, RENEW_BEFORE_S, Signer

__all__ = ["Identity"]

STALE_MOST_S = 300.0
RETRY_AFTER_S = 2.0


class Identity:
    """Tokens by key, cached until shortly before they lapse or the snapshot changes; `known` once there is one."""

    def __init__(self, signer: Signer, clock: Callable[[], float] = time.time) -> None:
        self._signer = signer
        self._clock = clock
        self.known = asyncio.Event()
        self._access: Access | None = None
        self._lost_since: float | None = None
        self._tokens: dict[str, tuple[float, str]] = {}

    def replace(self, access: Access) -> None:
        """A new snapshot arrived: it decides from now on."""
        self._access = access
        self._lost_since = None
        self._tokens = {}
        self.known.set()

    def lose(self) -> None:
        """The watch broke; the last snapshot ages from the first time this is called."""
        if self._lost_since is None:
            self._lost_since = self._clock()

    def token(self, authorization: str) -> str:
        """The `zoo-principal` for an `authorization` header.

        Raises Unauthenticated for a bad key and Unavailable DEPENDENCY_UNAVAILABLE while keys cannot be checked.
        """
        now = self._clock()
        if self._access is None or (self._lost_since is not None and now - self._lost_since > STALE_MOST_S):
            raise Unavailable(
                "DEPENDENCY_UNAVAILABLE",
                "keys cannot be checked: the catalog does not answer; retry",
                retry_after_s=RETRY_AFTER_S,
            )
        key = self._access.key(authorization, now)
        renew_at, token = self._tokens.get(key.id, (0.0, ""))
        if now >= renew_at:
            token = self._signer.sign(self._access.principal(key))
            self._tokens[key.id] = (now + LIFETIME_S - RENEW_BEFORE_S, token)
        return token
