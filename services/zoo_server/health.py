"""grpc.health.v1.Health of a server that serves all of its services, until it drains."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import grpc
from grpc_health.v1 import health_pb2 as pb
from grpc_health.v1 import health_pb2_grpc as rpc

__all__ = ["HealthServicer"]

Context = grpc.aio.ServicerContext[Any, Any]

# Of the server as a whole.
OVERALL = ""


class HealthServicer(rpc.HealthServicer):
    """Says NOT_SERVING before `serve` and from `drain` on."""

    def __init__(self) -> None:
        self._services: frozenset[str] = frozenset((OVERALL,))
        self._serving = False
        self._changed = asyncio.Event()
        self._drained = False

    def serve(self, services: tuple[str, ...]) -> None:
        self._services = frozenset((OVERALL, *services))
        self._tell(serving=True)

    def drain(self) -> None:
        """Tell everybody, and end every watch, so that none holds up the end of the server."""
        self._drained = True
        self._tell(serving=False)

    async def Check(self, request: pb.HealthCheckRequest, context: Context) -> pb.HealthCheckResponse:
        if request.service not in self._services:
            await context.abort(grpc.StatusCode.NOT_FOUND, "this server does not have that service")
        return self._status(request.service)

    async def Watch(self, request: pb.HealthCheckRequest, context: Context) -> AsyncIterator[pb.HealthCheckResponse]:
        while True:
            # Taken before the status is read: a change in between is told by the next turn.
            changed = self._changed
            yield self._status(request.service)
            if self._drained:
                return
            await changed.wait()

    def _status(self, service: str) -> pb.HealthCheckResponse:
        if service not in self._services:
            return pb.HealthCheckResponse(status=pb.HealthCheckResponse.SERVICE_UNKNOWN)
        serving = pb.HealthCheckResponse.SERVING if self._serving else pb.HealthCheckResponse.NOT_SERVING
        return pb.HealthCheckResponse(status=serving)

    def _tell(self, *, serving: bool) -> None:
        self._serving = serving
        self._changed.set()
        self._changed = asyncio.Event()
