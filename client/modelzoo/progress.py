"""How long work tells its caller how far it is."""

from typing import Protocol

__all__ = ["Progress", "Silence", "Summed"]


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


class Summed:
    """One Progress for several pieces of work, one after the other."""

    def __init__(self, whole: Progress) -> None:
        self._whole = whole
        self._totals: list[int] = []

    def part(self) -> Progress:
        """What the next piece is to tell."""
        self._totals.append(0)
        return _Part(self, len(self._totals) - 1, self._whole)

    def start(self, number: int, total_bytes: int) -> None:
        self._totals[number] = total_bytes
        self._whole.start(sum(self._totals))


class _Part:
    def __init__(self, summed: Summed, number: int, whole: Progress) -> None:
        self._summed = summed
        self._number = number
        self.skip, self.advance = whole.skip, whole.advance

    def start(self, total_bytes: int) -> None:
        self._summed.start(self._number, total_bytes)
