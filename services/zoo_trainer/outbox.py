"""Events on their way to the training service: numbered, sent in order, kept until they were taken."""

from collections import deque

from zoo.training.v1 import event_pb2 as pb
from zoo_trainer.admissible import Admission

__all__ = ["EVENTS_MAX", "Outbox"]

EVENTS_MAX = 1000  # of one call
# What a service that is away may cost of memory. Numbers may be lost then; the end of an attempt may not.
KEPT_MAX = 100_000


class Outbox:
    """`first` is the number, within the epoch, of the first event that was not taken yet."""

    def __init__(self, next_event: int) -> None:
        self.first = max(1, next_event)
        self._events: deque[pb.Event] = deque()
        self._admission = Admission()

    def __len__(self) -> int:
        return len(self._events)

    def add(self, event: pb.Event) -> None:
        """Keep what of it the service takes; a metric that nobody has taken makes way for others where there are too
        many."""
        if len(self._events) >= KEPT_MAX and event.HasField("metrics"):
            return
        self._events.extend(self._admission.admit(event))

    def batch(self) -> list[pb.Event]:
        """The first of them, as many as a call takes."""
        return [self._events[index] for index in range(min(EVENTS_MAX, len(self._events)))]

    def taken(self, count: int) -> None:
        """The service has so many of them, from the first on."""
        for _ in range(count):
            self._events.popleft()
        self.first += count

    def move_to(self, number: int) -> bool:
        """The service wants this number next. False where it wants what is not kept any more."""
        if not self.first <= number <= self.first + len(self._events):
            return False
        self.taken(number - self.first)
        return True
