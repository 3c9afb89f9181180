"""zoo.catalog.v1.ChangeService."""

from collections.abc import AsyncIterator
from typing import Any

import grpc
from google.protobuf.struct_pb2 import Struct

from zoo.catalog.v1 import change_pb2
from zoo.catalog.v1 import change_service_pb2 as pb
from zoo.catalog.v1 import change_service_pb2_grpc as rpc
from zoo_catalog.change_log import ChangeLog, Order, Reached, Span
from zoo_catalog.change_query import ChangeFilter, Entry
from zoo_catalog.changes import State
from zoo_catalog.times import time_from_pb, time_to_pb
from zoo_catalog.watches import Watches
from zoo_server.call import current_principal
from zoo_server.paging import PageRequest

__all__ = ["ChangeServicer"]

Context = grpc.aio.ServicerContext[Any, Any]


class ChangeServicer(rpc.ChangeServiceServicer):
    def __init__(self, log: ChangeLog, watches: Watches) -> None:
        self._log = log
        self._watches = watches

    async def WatchChanges(
        self, request: pb.WatchChangesRequest, context: Context
    ) -> AsyncIterator[pb.WatchChangesResponse]:
        after = request.after_sequence if request.HasField("after_sequence") else None
        principal, wanted = current_principal(), filter_from_pb(request.filter)
        with self._watches.enter(principal.subject):
            async for event in self._log.watch(principal, wanted, after, follow=request.follow):
                yield event_to_pb(event)

    async def ListChanges(self, request: pb.ListChangesRequest, context: Context) -> pb.ListChangesResponse:
        listed = await self._log.list(
            current_principal(),
            filter_from_pb(request.filter),
            span_from_pb(request),
            order_from_pb(request),
            PageRequest(request.page_size, request.page_token),
        )
        return pb.ListChangesResponse(
            changes=map(change_to_pb, listed.page.items),
            next_page_token=listed.page.next_token,
            end_sequence=listed.end,
        )


def filter_from_pb(wanted: change_pb2.ChangeFilter) -> ChangeFilter:
    return ChangeFilter(wanted.namespace, tuple(wanted.models), wanted.resource_prefix, tuple(wanted.actions))


def span_from_pb(request: pb.ListChangesRequest) -> Span:
    return Span(
        time_from_pb(request.start_time, "start_time") if request.HasField("start_time") else None,
        time_from_pb(request.end_time, "end_time") if request.HasField("end_time") else None,
    )


def order_from_pb(request: pb.ListChangesRequest) -> Order:
    return Order.OLDEST_FIRST if request.order == pb.CHANGE_ORDER_OLDEST_FIRST else Order.NEWEST_FIRST


def event_to_pb(event: Entry | Reached) -> pb.WatchChangesResponse:
    if isinstance(event, Reached):
        return pb.WatchChangesResponse(reached_sequence=event.sequence)
    return pb.WatchChangesResponse(change=change_to_pb(event))


def change_to_pb(entry: Entry) -> change_pb2.Change:
    return change_pb2.Change(
        sequence=entry.sequence,
        time=time_to_pb(entry.time),
        actor=entry.actor,
        action=entry.action,
        resource=entry.resource,
        before=state_to_pb(entry.before),
        after=state_to_pb(entry.after),
        on_behalf_of=entry.on_behalf_of,
        cause=entry.cause,
    )


def state_to_pb(state: State | None) -> Struct | None:
    if state is None:
        return None
    struct = Struct()
    struct.update(state)
    return struct
