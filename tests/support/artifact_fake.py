"""The part of the artifact service that the catalog calls, over dictionaries: files are put in, pins are looked at."""

import hashlib
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import grpc
from blake3 import blake3

from modelzoo.errors import NotFound, ZooError, to_status
from modelzoo.manifest import BLOB_BYTES_MAX, Blob, File, Manifest
from zoo.artifact.v1 import artifact_service_pb2 as pb
from zoo.artifact.v1 import artifact_service_pb2_grpc as rpc

__all__ = ["ArtifactFake", "file_of", "running_artifact_fake"]


class ArtifactFake(rpc.ArtifactServiceServicer):
    """`pins` are (namespace, manifest digest, holder), `quarantined` are reasons by namespace and digest, `opaque` is
    what namespaces take. While `failing` is set, every call ends with that error.
    """

    def __init__(self) -> None:
        self.address = ""
        self.pins: set[tuple[str, str, str]] = set()
        self.quarantined: dict[tuple[str, str], str] = {}
        self.opaque: dict[str, bool] = {}
        self.calls: list[str] = []
        self.failing: ZooError | None = None
        self._manifests: dict[tuple[str, str], tuple[bytes, Mapping[str, bytes]]] = {}

    def put(self, namespace: str, files: Mapping[str, bytes], format: str = "transformers") -> str:
        """Make a manifest of these files visible in the namespace; its digest."""
        manifest = Manifest.of(format, [file_of(path, data) for path, data in files.items()])
        self._manifests[namespace, manifest.digest()] = (manifest.to_bytes(), files)
        return manifest.digest()

    async def Pin(self, request: pb.PinRequest, context: Any) -> pb.PinResponse:
        await self._find("Pin", request, context)
        self.pins.add((request.namespace, request.manifest_digest, request.holder))
        return pb.PinResponse()

    async def QuarantineManifest(
        self, request: pb.QuarantineManifestRequest, context: Any
    ) -> pb.QuarantineManifestResponse:
        await self._find("QuarantineManifest", request, context)
        self.quarantined[request.namespace, request.manifest_digest] = request.reason
        return pb.QuarantineManifestResponse()

    async def ReleaseManifest(self, request: pb.ReleaseManifestRequest, context: Any) -> pb.ReleaseManifestResponse:
        await self._find("ReleaseManifest", request, context)
        self.quarantined.pop((request.namespace, request.manifest_digest), None)
        return pb.ReleaseManifestResponse()

    async def SetNamespacePolicy(
        self, request: pb.SetNamespacePolicyRequest, context: Any
    ) -> pb.SetNamespacePolicyResponse:
        if self.failing is not None:
            await _abort(context, self.failing)
        self.opaque[request.namespace] = request.policy.allow_opaque
        return pb.SetNamespacePolicyResponse(policy=request.policy)

    async def Unpin(self, request: pb.UnpinRequest, context: Any) -> pb.UnpinResponse:
        self.calls.append("Unpin")
        if self.failing is not None:
            await _abort(context, self.failing)
        self.pins.discard((request.namespace, request.manifest_digest, request.holder))
        return pb.UnpinResponse()

    async def GetManifest(self, request: pb.GetManifestRequest, context: Any) -> pb.GetManifestResponse:
        manifest, _ = await self._find("GetManifest", request, context)
        return pb.GetManifestResponse(manifest=manifest)

    async def ReadFile(self, request: pb.ReadFileRequest, context: Any) -> AsyncIterator[pb.ReadFileResponse]:
        _, files = await self._find("ReadFile", request, context)
        end = request.offset_bytes + request.length_bytes
        yield pb.ReadFileResponse(chunk=files[request.path][request.offset_bytes : end])

    async def _find(self, method: str, request: Any, context: Any) -> tuple[bytes, Mapping[str, bytes]]:
        self.calls.append(method)
        found = self._manifests.get((request.namespace, request.manifest_digest))
        if self.failing is None and found is not None:
            return found
        await _abort(
            context, self.failing or NotFound("MANIFEST_NOT_FOUND", "there is no such manifest in the namespace")
        )
        raise AssertionError


async def _abort(context: Any, error: ZooError) -> None:
    details = to_status(error).SerializeToString()
    await context.abort(error.code, error.message, (("grpc-status-details-bin", details),))


@asynccontextmanager
async def running_artifact_fake() -> AsyncIterator[ArtifactFake]:
    fake = ArtifactFake()
    server = grpc.aio.server()
    rpc.add_ArtifactServiceServicer_to_server(fake, server)
    fake.address = f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
    await server.start()
    try:
        yield fake
    finally:
        await server.stop(None)


def file_of(path: str, data: bytes) -> File:
    parts = [data[at : at + BLOB_BYTES_MAX] for at in range(0, len(data), BLOB_BYTES_MAX)]
    blobs = tuple(Blob(blake3(part).hexdigest(), len(part)) for part in parts)
    return File(path, len(data), hashlib.sha256(data).hexdigest(), blobs)
