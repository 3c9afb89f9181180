"""The zoo's log of changes, from a cursor, for as long as it is read."""

import threading
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from types import TracebackType
from typing import Protocol, Self

import grpc

from modelzoo import history_wire, records, wire
from modelzoo.attempts import Attempts
from modelzoo.calls import building, paged, translated
from modelzoo.errors import Interrupted, ZooError
from zoo.catalog.v1 import change_pb2
from zoo.catalog.v1 import change_service_pb2 as pb
from zoo.catalog.v1 import change_service_pb2_grpc as rpc

__all__ = ["ChangeLog", "ChangeStream", "Reading", "change_filter", "cursor_of", "since_request", "watch_request"]


class ResponseStream(Protocol):
    """What a grpc server-streaming call is, as far as it matters here."""

    def __next__(self) -> pb.WatchChangesResponse: ...
    def cancel(self) -> object: ...


class ChangeStream(Iterator[records.Change]):
    """Changes in the order of the log, each once, from a cursor on. A broken connection is opened again there, a
    few times in a row, or with `follow` as often as it takes once the first has stood.

    `cursor` is the sequence up to which everything has been given: who begins another stream after it, perhaps in
    another process, goes on without a gap. `close`, from any thread, or the end of a `with` block ends it.
    """

    def __init__(self, start: Callable[[int | None], ResponseStream], after: int | None, *, follow: bool) -> None:
        self._start = start
        self._call: ResponseStream | None = None
        self._closed = threading.Event()
        self._attempts = Attempts(self._closed)
        self._reading = Reading(after, self._attempts, follow=follow)

    @property
    def cursor(self) -> int | None:
        return self._reading.cursor

    def __next__(self) -> records.Change:
        while True:
            change = self.receive()
            if change is not None:
                return change

    def receive(self) -> records.Change | None:
        """The next change, or None: there are no more up to `cursor`, for now. StopIteration at the end."""
        while not self._closed.is_set():
            try:
                return self._receive()
            except ZooError as error:
                self._call = None
                if self._closed.is_set():
                    break
                self._attempts.wait_after(error)
        raise StopIteration

    def _receive(self) -> records.Change | None:
        with translated():
            if self._call is None:
                self._reading.begin()
                self._call = self._start(self.cursor)
            response = next(self._call, None)
        if response is not None:
            return self._reading.take(response)
        self._reading.end()
        self.close()
        raise StopIteration

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


class Reading:
    """How far the log is read by one stream, over as many calls as that takes; `cursor` as of ChangeStream."""

    def __init__(self, after: int | None, attempts: Attempts, *, follow: bool) -> None:
        self.cursor = after
        self._attempts = attempts
        self._follow = follow
        self._at_end = False

    def begin(self) -> None:
        """A call is started at the cursor."""
        self._at_end = False

    def take(self, response: pb.WatchChangesResponse) -> records.Change | None:
        """The change that the call has answered, or None: there are no more up to the cursor, for now."""
        self._attempts.progressed()
        if self._follow:
            self._attempts.limit = None
        self._at_end = response.HasField("reached_sequence")
        if self._at_end:
            self.cursor = response.reached_sequence
            return None
        change = history_wire.change(response.change)
        self.cursor = change.sequence
        return change

    def end(self) -> None:
        """The call has ended as if all were well. Raises Interrupted where that is not the end of the log."""
        if self._follow or not self._at_end:
            raise Interrupted("STREAM_INTERRUPTED", "The log of changes broke off before its end.")


class ChangeLog:
    """Reads the log over one channel."""

    def __init__(self, channel: grpc.Channel) -> None:
        self._stub = rpc.ChangeServiceStub(channel)

    def stream(self, wanted: change_pb2.ChangeFilter, after: int | None, *, follow: bool) -> ChangeStream:
        """The changes after the cursor; None: those that are still to come. Nothing is asked before the first is."""

        def start(cursor: int | None) -> ResponseStream:
            return self._stub.WatchChanges(watch_request(wanted, cursor, follow=follow))

        return ChangeStream(start, after, follow=follow)

    def cursor_at(self, wanted: change_pb2.ChangeFilter, time: datetime) -> int:
        """The cursor before the first of the wanted changes that was made at this time or later."""
        request = since_request(wanted, time)
        with translated():
            return cursor_of(self._stub.ListChanges(request))

    def newest_first(self, wanted: change_pb2.ChangeFilter) -> Iterator[records.Change]:
        """The changes backwards in time, asked for page by page."""

        def fetch(token: str) -> tuple[Sequence[records.Change], str]:
            page = self._stub.ListChanges(pb.ListChangesRequest(filter=wanted, page_token=token))
            return [history_wire.change(change) for change in page.changes], page.next_page_token

        return paged(fetch)


def watch_request(wanted: change_pb2.ChangeFilter, cursor: int | None, *, follow: bool) -> pb.WatchChangesRequest:
    """What asks for the changes after the cursor."""
    with building():
        return pb.WatchChangesRequest(after_sequence=cursor, follow=follow, filter=wanted)


def since_request(wanted: change_pb2.ChangeFilter, time: datetime) -> pb.ListChangesRequest:
    """What asks for the first of the wanted changes that was made at this time or later."""
    with building():
        return pb.ListChangesRequest(
            filter=wanted, start_time=wire.to_timestamp(time), order=pb.CHANGE_ORDER_OLDEST_FIRST, page_size=1
        )


def cursor_of(page: pb.ListChangesResponse) -> int:
    """The cursor before the page's first change."""
    return page.changes[0].sequence - 1 if page.changes else page.end_sequence


def change_filter(
    namespace: str = "", models: Sequence[str] = (), resource_prefix: str = "", actions: Sequence[str] = ()
) -> change_pb2.ChangeFilter:
    """The message; '' and () leave everything through."""
    with building():
        return change_pb2.ChangeFilter(
            namespace=namespace, models=models, resource_prefix=resource_prefix, actions=actions
        )
