"""The worker's one bounded queue: so many requests at once, whether they compute, wait or load a model."""

from collections.abc import Callable, Generator
from contextlib import contextmanager

from modelzoo.errors import ResourceExhausted

__all__ = ["Admission", "Ticket"]

RETRY_AFTER_S = 1.0


class Admission:
    """Counts requests. `on_change` is called whenever a number changes; it must be quick."""

    def __init__(self, capacity: int, on_change: Callable[[], None]) -> None:
        self.capacity = capacity
        self.running = 0
        self.queued = 0
        self._on_change = on_change

    @contextmanager
    def enter(self) -> Generator["Ticket"]:
        """Hold a place for the length of the block; QUEUE_FULL if there is none."""
        if self.running + self.queued >= self.capacity:
            raise ResourceExhausted(
                "QUEUE_FULL",
                f"this worker has {self.capacity} requests already: retry a little later",
                metadata={"capacity": str(self.capacity)},
                retry_after_s=RETRY_AFTER_S,
            )
        ticket = Ticket(self)
        self.count(queued=1)
        try:
            yield ticket
        finally:
            if ticket.started:
                self.count(running=-1)
            else:
                self.count(queued=-1)

    def count(self, *, queued: int = 0, running: int = 0) -> None:
        self.queued += queued
        self.running += running
        self._on_change()


class Ticket:
    """A request's place."""

    def __init__(self, admission: Admission) -> None:
        self._admission = admission
        self.started = False

    def start(self) -> None:
        """The request no longer waits: it is computed. Once is enough, more does no harm."""
        if not self.started:
            self.started = True
            self._admission.count(queued=-1, running=1)
