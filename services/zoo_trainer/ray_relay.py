"""What the driver and the processes of a job on a Ray cluster tell each other: a small actor that both can reach.

Ray moves what it moves by pickle, between processes that it started itself; here that is text alone.
"""

from typing import NamedTuple

__all__ = ["Line", "Relay", "Wish"]


class Line(NamedTuple):
    """Of `zoo_trainer.report`."""

    rank: int
    text: str


class Wish(NamedTuple):
    """The agent's last order, and the job's principal as it is now."""

    order: str
    token: str


class Relay:
    """Lives as long as the driver does."""

    def __init__(self, order: str, token: str) -> None:
        self._wish = Wish(order, token)
        self._lines: list[Line] = []

    def say(self, rank: int, text: str) -> None:
        self._lines.append(Line(rank, text))

    def ask(self) -> Wish:
        return self._wish

    def exchange(self, order: str, token: str) -> list[Line]:
        """What was said since the last time; what is wanted from now on."""
        self._wish = Wish(order, token)
        said, self._lines = self._lines, []
        return said
