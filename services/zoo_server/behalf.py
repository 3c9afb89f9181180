"""On whose behalf a service acts by itself: said with its own token while a block runs, recorded by who is called.

It is a remark that gives no role and takes none: what is allowed is decided by the principal alone.
"""

from collections.abc import Generator
from contextlib import contextmanager
from contextvars import ContextVar

from zoo_server.principal import Behalf, Signer

__all__ = ["Acting", "acting_for"]

_current: ContextVar[Behalf | None] = ContextVar("zoo_behalf", default=None)


@contextmanager
def acting_for(behalf: Behalf) -> Generator[None]:
    """Calls in the block, by channels of an `Acting`, say so."""
    before = _current.set(behalf)
    try:
        yield
    finally:
        _current.reset(before)


class Acting:
    """A service's own credential that says on whose behalf it acts, where it does."""

    def __init__(self, signer: Signer) -> None:
        self._signer = signer

    def own_token(self) -> str:
        behalf = _current.get()
        return self._signer.own_token() if behalf is None else self._signer.sign(behalf=behalf)
