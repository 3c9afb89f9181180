"""Whether a caller may run a gated model, or an adapter of another's: the worker sees every model, and must ask for
whom it runs one."""

import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

from modelzoo.adapter_base import base_missing
from modelzoo.errors import DeadlineExceeded, PermissionDenied, Unavailable
from zoo_inference.catalog import Catalog, Version
from zoo_inference.freshness import FRESH_S, STALE_AT_MOST_S
from zoo_server.principal import Principal, Role

__all__ = ["Gate"]

REMEMBERED_MOST = 4096


@dataclass(frozen=True, slots=True)
class _Known:
    refusal: str | None
    at: float


class Gate:
    """Answers as the catalog does, at most FRESH_S behind it; while it is away, as it last did."""

    def __init__(self, catalog: Catalog, clock: Callable[[], float] = time.monotonic) -> None:
        self._catalog = catalog
        self._clock = clock
        self._known: OrderedDict[tuple[str, str], _Known] = OrderedDict()

    async def check(self, version: Version, principal: Principal) -> None:
        """Return if `principal`, an invoker in the version's namespace, may run it as far as its model is gated and, of
        an adapter, as its base may be read: else anybody's empty adapter would open whatever it names as its base.

        Raises ACCESS_NOT_GRANTED, ADAPTER_BASE_MISSING where the base is hidden, and what Catalog.refusal raises."""
        if version.base is not None and not principal.has(Role.VIEWER, version.base.namespace):
            why = "that is hidden from you: ask an admin for the role viewer in its namespace"
            raise base_missing(version.reference, why)
        for part in version.parts:
            await self._check_granted(part, principal)

    async def _check_granted(self, version: Version, principal: Principal) -> None:
        if not version.gated or principal.has(Role.PUBLISHER, version.namespace):
            return
        model = version.reference.partition("@")[0]
        refusal = await self._refusal(model, principal.subject)
        if refusal is not None:
            raise PermissionDenied("ACCESS_NOT_GRANTED", refusal, metadata={"model": model})

    async def _refusal(self, model: str, subject: str) -> str | None:
        known = self._known.get((model, subject))
        if known is not None and self._clock() - known.at < FRESH_S:
            return known.refusal
        try:
            refusal = await self._catalog.refusal(model, subject)
        except (Unavailable, DeadlineExceeded):
            if known is None or self._clock() - known.at > STALE_AT_MOST_S:
                raise
            return known.refusal
        self._known[model, subject] = _Known(refusal, self._clock())
        self._known.move_to_end((model, subject))
        while len(self._known) > REMEMBERED_MOST:
            self._known.popitem(last=False)
        return refusal
