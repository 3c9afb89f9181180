"""The events of a job, from a cursor, for as long as they are read."""

import threading
from collections.abc import Callable, Iterator
from types import TracebackType
from typing import Protocol, Self

from modelzoo import training_wire
from modelzoo.attempts import Attempts
from modelzoo.calls import translated
from modelzoo.errors import Interrupted, ZooError
from modelzoo.training_records import FINAL_STATES, Job, JobEvent
from zoo.training.v1 import training_service_pb2 as pb

__all__ = ["JobStream", "ResponseStream"]


class ResponseStream(Protocol):
    """What a grpc server-streaming call is, as far as it matters here."""

    def __next__(self) -> pb.WatchJobResponse: ...
    def cancel(self) -> object: ...


class JobStream(Iterator[JobEvent]):
    """A job's events in order, each once, from a cursor on. A broken connection is opened again there, a few times in
    a row, or with `follow` as often as it takes once the first has stood.

    With `follow` it ends when the job is final and its last event was given, else with the last event of now. `cursor`
    is the sequence of the last event given: who begins another stream after it, perhaps in another process, goes on
    without a gap. `close`, from any thread, or the end of a `with` block ends it.
    """

    def __init__(
        self, start: Callable[[int], ResponseStream], look: Callable[[], Job], after: int, *, follow: bool
    ) -> None:
        self.cursor = after
        self._start = start
        self._look = look
        self._follow = follow
        self._call: ResponseStream | None = None
        self._closed = threading.Event()
        self._attempts = Attempts(self._closed)
        self._is_final = False

    def __next__(self) -> JobEvent:
        while not self._closed.is_set():
            try:
                return self._receive()
            except ZooError as error:
                self._call = None
                if self._closed.is_set():
                    break
                if error.reason == "WATCH_EXPIRED":
                    self._stands()
                    continue
                self._attempts.wait_after(error)
        raise StopIteration

    def _receive(self) -> JobEvent:
        while True:
            with translated():
                if self._call is None:
                    self._call = self._start(self.cursor)
                response = next(self._call, None)
            if response is None:
                self._end()
                raise StopIteration
            self._stands()
            event = training_wire.event(response.event)
            if event.sequence <= self.cursor:
                continue  # a proxy that repeats is no reason to tell anything twice
            if event.sequence != self.cursor + 1:
                raise Interrupted("STREAM_INTERRUPTED", f"After event {self.cursor} of the job came {event.sequence}.")
            self.cursor = event.sequence
            if event.state is not None:
                self._is_final = event.state.state in FINAL_STATES
            return event

    def _end(self) -> None:
        """Close; STREAM_INTERRUPTED where the stream ended before the job did."""
        if self._follow and not self._is_final:
            job = self._look()
            if not job.is_final or job.last_sequence > self.cursor:
                raise Interrupted("STREAM_INTERRUPTED", "The events of the job broke off before its end.")
        self.close()

    def _stands(self) -> None:
        self._attempts.progressed()
        if self._follow:
            self._attempts.limit = None

    def close(self) -> None:
        """End it. Closing twice is harmless."""
        self._closed.set()
        if self._call is not None:
            self._call.cancel()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __del__(self) -> None:
        self.close()
