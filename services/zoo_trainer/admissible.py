"""What of a child's events the training service takes.

A recipe may say anything: a perplexity that is infinite, a metric that divides by nothing. One event that the service
refuses would make it refuse the call that carries it, with all events beside it and the lease's renewal, again and
again.
"""

import math

from modelzoo.errors import InvalidArgument
from zoo.training.v1 import event_pb2 as pb
from zoo_server.validation import validate

__all__ = ["Admission"]

NAMED_MOST = 100
SHOWN_CHARACTERS = 200


class Admission:
    """Of one attempt: what is left out is said once for each name."""

    def __init__(self) -> None:
        self._said: set[str] = set()

    def admit(self, event: pb.Event) -> list[pb.Event]:
        """The event as it can be sent, behind what is to be said about it; nothing where nothing of it is left."""
        if event.HasField("metrics"):
            return self._metrics(event)
        if event.HasField("log") and not event.log.text:
            return []
        return self._checked(event)

    def _metrics(self, event: pb.Event) -> list[pb.Event]:
        values = event.metrics.values
        bad = sorted(name for name, value in values.items() if not math.isfinite(value))
        if not bad:
            return self._checked(event)
        left = pb.Event()
        left.CopyFrom(event)
        for name in bad:
            del left.metrics.values[name]
        new = [name for name in bad if name not in self._said][: NAMED_MOST - len(self._said)]
        self._said.update(new)
        step = event.metrics.progress.step
        notes = [
            _warning(f"{name} is {values[name]} at step {step}: it is left out wherever it is no finite number.")
            for name in new
        ]
        return [*notes, *self._checked(left)]

    def _checked(self, event: pb.Event) -> list[pb.Event]:
        try:
            validate(event)
        except InvalidArgument as error:
            return [_warning(f"An event that cannot be sent was left out: {error.message[:SHOWN_CHARACTERS]}")]
        return [event]


def _warning(text: str) -> pb.Event:
    return pb.Event(log=pb.Log(severity=pb.SEVERITY_WARNING, text=text))
