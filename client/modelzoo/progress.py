"""How long work tells its caller how far it is."""

from typing import Protocol

__all__ = ["Progress", "Silence"]


class Progress(Protocol):
    """Hears of bytes. Called from several threads at once; what it raises ends the work.

    After `start`, the counts of `skip` and `advance` add up to `total_bytes` when all is done.
    """

    def start(self, total_bytes: int) -> None:
        """The work begins and has so many bytes; again: it has so many in all, as was found out meanwhile."""
        ...

    def skip(self, count_bytes: int) -> None:
        """So many bytes were there already and need not move."""
        ...

    def advance(self, count_bytes: int) -> None:
        """So many bytes moved. Negative: so many must move again, because their stream broke off."""
        ...


class Silence:
    """A Progress that nobody hears."""

    def start(self, total_bytes: int) -> None:
        pass

    def skip(self, count_bytes: int) -> None:
        pass

    def advance(self, count_bytes: int) -> None:
        pass
