"""zoo.catalog.v1.AccessService."""

from typing import Any

import grpc

from zoo.catalog.v1 import access_request_pb2
from zoo.catalog.v1 import access_service_pb2 as pb
from zoo.catalog.v1 import access_service_pb2_grpc as rpc
from zoo_catalog.gates import AccessState, Gates
from zoo_catalog.messages import access_request_to_pb
from zoo_server.call import current_principal
from zoo_server.paging import PageRequest

__all__ = ["AccessServicer"]

Context = grpc.aio.ServicerContext[Any, Any]


class AccessServicer(rpc.AccessServiceServicer):
    def __init__(self, gates: Gates) -> None:
        self._gates = gates

    async def RequestAccess(self, request: pb.RequestAccessRequest, context: Context) -> pb.RequestAccessResponse:
        made = await self._gates.request(request.model, request.reason, current_principal().subject)
        return pb.RequestAccessResponse(access_request=access_request_to_pb(made))

    async def ListAccessRequests(
        self, request: pb.ListAccessRequestsRequest, context: Context
    ) -> pb.ListAccessRequestsResponse:
        page = await self._gates.list(
            current_principal(),
            request.model,
            state_from_pb(request.state),
            PageRequest(request.page_size, request.page_token),
        )
        return pb.ListAccessRequestsResponse(
            access_requests=map(access_request_to_pb, page.items), next_page_token=page.next_token
        )

    async def DecideAccess(self, request: pb.DecideAccessRequest, context: Context) -> pb.DecideAccessResponse:
        # Its limits leave only states that can be decided.
        decision = state_from_pb(request.decision) or AccessState.DENIED
        decided = await self._gates.decide(
            request.model, request.subject, decision, request.reason, request.etag, current_principal().subject
        )
        return pb.DecideAccessResponse(access_request=access_request_to_pb(decided))

    async def CheckAccess(self, request: pb.CheckAccessRequest, context: Context) -> pb.CheckAccessResponse:
        refusal = await self._gates.check(request.model, request.subject)
        return pb.CheckAccessResponse(granted=refusal is None, refusal=refusal.message if refusal else "")


def state_from_pb(state: "access_request_pb2.AccessState.ValueType") -> AccessState | None:
    """None for what is unspecified, or no state that is known here."""
    names = access_request_pb2.AccessState.DESCRIPTOR.values_by_number
    name = names[state].name.removeprefix("ACCESS_STATE_") if state in names else ""
    return AccessState(name) if name in AccessState.__members__ else None
