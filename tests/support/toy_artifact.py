"""A toy behind the artifact service's methods, one for each kind of call, to see what a server does around it."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

import grpc

from zoo.artifact.v1 import artifact_service_pb2 as pb
from zoo.artifact.v1 import artifact_service_pb2_grpc as rpc
from zoo_server.call import current_call, current_principal, remaining_s
from zoo_server.principal import Principal, Role, Signer
from zoo_server.server import Server

__all__ = ["METHODS", "SERVICE", "Running", "Toy", "file", "manifest"]

SERVICE = "zoo.artifact.v1.ArtifactService"
METHODS = tuple(method.name for method in pb.DESCRIPTOR.services_by_name["ArtifactService"].methods)


class Toy(rpc.ArtifactServiceServicer):
    """Does what the namespace says, and keeps what it saw."""

    def __init__(self) -> None:
        self.saw: list[Any] = []
        self.finish = asyncio.Event()
        self.cancelled = asyncio.Event()
        self.raising: BaseException | None = None

    async def GetManifest(self, request: pb.GetManifestRequest, context: Any) -> pb.GetManifestResponse:
        self.saw.append((current_call(), current_principal(), remaining_s()))
        if self.raising:
            raise self.raising
        if request.namespace == "wait":
            try:
                await self.finish.wait()
            except asyncio.CancelledError:
                self.cancelled.set()
                raise
        return pb.GetManifestResponse(manifest=b"done")

    async def ReadFile(self, request: pb.ReadFileRequest, context: Any) -> AsyncIterator[pb.ReadFileResponse]:
        try:
            yield pb.ReadFileResponse(chunk=b"first")
            if self.raising:
                raise self.raising
            if request.namespace == "wait":
                await self.finish.wait()
            yield pb.ReadFileResponse(chunk=b"last")
        finally:
            self.cancelled.set()

    async def WriteBlobs(self, request: AsyncIterator[pb.WriteBlobsRequest], context: Any) -> AsyncIterator[Any]:
        async for message in request:
            self.saw.append(message)
            yield pb.WriteBlobsResponse(digest=message.header.namespace)


@dataclass
class Running:
    server: Server
    toy: Toy
    gateway: Signer
    channel: grpc.aio.Channel
    stub: Any = field(init=False)

    def __post_init__(self) -> None:
        self.stub = rpc.ArtifactServiceStub(self.channel)

    def metadata(self, principal: Principal | None = None) -> tuple[tuple[str, str], ...]:
        return (("zoo-principal", self.gateway.sign(principal or Principal("app", {"*": Role.ADMIN}))),)


def manifest(namespace: str = "team") -> pb.GetManifestRequest:
    return pb.GetManifestRequest(namespace=namespace, manifest_digest="0" * 64)


def file(namespace: str = "team") -> pb.ReadFileRequest:
    return pb.ReadFileRequest(namespace=namespace, manifest_digest="0" * 64, path="a")
