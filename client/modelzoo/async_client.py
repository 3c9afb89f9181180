"""The client for asyncio: what a service needs that keeps up with a zoo."""

import asyncio
import os
import threading
import weakref
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from datetime import datetime
from types import TracebackType
from typing import Protocol, Self

import grpc

from modelzoo import config, records, wire
from modelzoo.attempts import Attempts
from modelzoo.calls import translated
from modelzoo.change_log import Reading, change_filter, cursor_of, since_request, watch_request
from modelzoo.channel import open_aio_channel
from modelzoo.errors import ZooError
from modelzoo.reference import parse
from zoo.catalog.v1 import catalog_service_pb2, catalog_service_pb2_grpc, change_service_pb2_grpc
from zoo.catalog.v1 import change_service_pb2 as pb

__all__ = ["AsyncChangeStream", "AsyncClient"]


class AsyncResponseStream(Protocol):
    """What a grpc.aio server-streaming call is, as far as it matters here."""

    async def read(self) -> object: ...
    def cancel(self) -> object: ...


class AsyncChangeStream(AsyncIterator[records.Change]):
    """As ChangeStream, for `async for`. Whoever is cancelled while it waits has lost nothing: the next change is the
    one after `cursor`. `close`, or the end of an `async with` block, ends it.
    """

    def __init__(
        self,
        start: Callable[[int | None], AsyncResponseStream],
        after: Callable[[], Awaitable[int | None]],
        *,
        follow: bool,
    ) -> None:
        self._start = start
        self._after = after
        self._follow = follow
        self._call: AsyncResponseStream | None = None
        self._closed = threading.Event()
        self._attempts = Attempts(self._closed)
        self._reading: Reading | None = None

    @property
    def cursor(self) -> int | None:
        """As of ChangeStream; None before the first change was asked for."""
        return None if self._reading is None else self._reading.cursor

    async def __anext__(self) -> records.Change:
        while True:
            change = await self.receive()
            if change is not None:
                return change

    async def receive(self) -> records.Change | None:
        """The next change, or None: there are no more up to `cursor`, for now. StopAsyncIteration at the end."""
        while not self._closed.is_set():
            try:
                return await self._receive()
            except ZooError as error:
                self._drop()
                if self._closed.is_set():
                    break
                await asyncio.sleep(self._attempts.pause_s(error))
            except asyncio.CancelledError:
                # grpc ends a call whose reader is cancelled: what it was about to give is asked for again. It cancels
                # the reader of a call that is ended, too, which here is the end of the stream.
                self._drop()
                task = asyncio.current_task()
                if not self._closed.is_set() or (task is not None and task.cancelling()):
                    raise
        raise StopAsyncIteration

    async def _receive(self) -> records.Change | None:
        if self._reading is None:
            self._reading = Reading(await self._after(), self._attempts, follow=self._follow)
        with translated():
            if self._call is None:
                self._reading.begin()
                self._call = self._start(self._reading.cursor)
            response = await self._call.read()
        if isinstance(response, pb.WatchChangesResponse):
            return self._reading.take(response)
        self._reading.end()
        self.close()
        raise StopAsyncIteration

    def close(self) -> None:
        """End it. Closing twice is harmless."""
        self._closed.set()
        self._drop()

    def _drop(self) -> None:
        if self._call is not None:
            self._call.cancel()
            self._call = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class AsyncClient:
    """A connection to a zoo for one event loop, in which it is made. Close it, or use it in an `async with`.

    It has what cannot wait on a thread: changes as they come, and what references mean. All else is Client's, of which
    any number of threads may make calls: `await asyncio.to_thread(client.pull, ref)`. Arguments and errors are those
    of Client.
    """

    def __init__(self, url: str | None = None, key: str | None = None) -> None:
        given = {name: value for name, value in (("ZOO_URL", url), ("ZOO_KEY", key)) if value}
        found = config.load({**os.environ, **given})
        self.url = found.url
        self._channel: grpc.aio.Channel = open_aio_channel(found.url, found.key)
        self._catalog = catalog_service_pb2_grpc.CatalogServiceStub(self._channel)
        self._changes = change_service_pb2_grpc.ChangeServiceStub(self._channel)
        self._streams = weakref.WeakSet[AsyncChangeStream]()

    async def close(self) -> None:
        """End the connection and every stream and call on it. Closing twice is harmless."""
        for stream in list(self._streams):
            stream.close()
        await self._channel.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def version(self, ref: str) -> records.Version:
        """The version that the reference means now; one by weight where an alias has several."""
        request = catalog_service_pb2.GetVersionRequest(reference=str(parse(ref)))
        with translated():
            return wire.version((await self._catalog.GetVersion(request)).version)

    def changes(
        self,
        after: int | None = 0,
        *,
        follow: bool = False,
        since: datetime | None = None,
        namespace: str = "",
        models: Sequence[str] = (),
        resource_prefix: str = "",
        actions: Sequence[str] = (),
    ) -> AsyncChangeStream:
        """As Client.changes: `async for change in zoo.changes(None, follow=True, models=["team/bert"])`. Nothing is
        asked before the first change is.
        """
        wanted = change_filter(namespace, [parse(model).model for model in models], resource_prefix, actions)

        async def begin() -> int | None:
            if since is None:
                return after
            request = since_request(wanted, since)
            with translated():
                return cursor_of(await self._changes.ListChanges(request))

        def start(cursor: int | None) -> AsyncResponseStream:
            return self._changes.WatchChanges(watch_request(wanted, cursor, follow=follow))

        stream = AsyncChangeStream(start, begin, follow=follow)
        self._streams.add(stream)
        return stream
