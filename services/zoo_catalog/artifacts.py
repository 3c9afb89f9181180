"""The artifact service as the catalog sees it: pin, unpin and say so, read a manifest, read the beginning of a file."""

import asyncio
import threading
from typing import NoReturn

import grpc

from modelzoo.attempts import STARTS, Attempts
from modelzoo.errors import Aborted, DataLoss, DeadlineExceeded, NotFound, Unavailable, ZooError, from_rpc_error
from modelzoo.manifest import Manifest
from zoo.artifact.v1 import artifact_service_pb2 as pb
from zoo.artifact.v1 import artifact_service_pb2_grpc as rpc
from zoo.artifact.v1 import upkeep_service_pb2 as upkeep_pb
from zoo.artifact.v1 import upkeep_service_pb2_grpc as upkeep_rpc
from zoo_server.call import remaining_s

__all__ = ["Artifacts"]

RETRY_AFTER_S = 1.0
# What the caller of the catalog can act on; every other answer is a fault between the two services.
_PASSED_ON = (NotFound, DataLoss, DeadlineExceeded, Aborted)


class Artifacts:
    """Every method raises MANIFEST_NOT_FOUND as the service does, BLOB_CORRUPT for damaged bytes, and
    DEPENDENCY_UNAVAILABLE where the service or its storage does not answer.
    """

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self._stub = rpc.ArtifactServiceStub(channel)
        self._upkeep = upkeep_rpc.UpkeepServiceStub(channel)

    async def pin(self, namespace: str, manifest_digest: str, holder: str) -> None:
        """Keep the manifest until `holder` lets go of it. Doing it twice changes nothing."""
        request = pb.PinRequest(namespace=namespace, manifest_digest=manifest_digest, holder=holder)
        try:
            await self._stub.Pin(request, timeout=remaining_s())
        except grpc.aio.AioRpcError as error:
            _translate(error)

    async def quarantine(self, namespace: str, manifest_digest: str, reason: str) -> None:
        """Keep the manifest's bytes from all but the namespace's admins. Doing it again replaces the reason."""
        request = pb.QuarantineManifestRequest(namespace=namespace, manifest_digest=manifest_digest, reason=reason)
        try:
            await self._stub.QuarantineManifest(request, timeout=remaining_s())
        except grpc.aio.AioRpcError as error:
            _translate(error)

    async def release(self, namespace: str, manifest_digest: str) -> None:
        """End the manifest's quarantine, if there is one."""
        request = pb.ReleaseManifestRequest(namespace=namespace, manifest_digest=manifest_digest)
        try:
            await self._stub.ReleaseManifest(request, timeout=remaining_s())
        except grpc.aio.AioRpcError as error:
            _translate(error)

    async def allow_opaque(self, namespace: str, allow_opaque: bool) -> None:
        """Say whether the namespace takes files that could run code, as bytes."""
        policy = pb.NamespacePolicy(allow_opaque=allow_opaque)
        request = pb.SetNamespacePolicyRequest(namespace=namespace, policy=policy)
        try:
            await self._stub.SetNamespacePolicy(request, timeout=remaining_s())
        except grpc.aio.AioRpcError as error:
            _translate(error)

    async def unpin(self, namespace: str, manifest_digest: str, holder: str) -> None:
        """Let go of the manifest for `holder`. Doing it twice, or for a pin that never was, changes nothing."""
        request = pb.UnpinRequest(namespace=namespace, manifest_digest=manifest_digest, holder=holder)
        try:
            await self._stub.Unpin(request, timeout=remaining_s())
        except grpc.aio.AioRpcError as error:
            _translate(error)

    async def index_id(self) -> str:
        """Which index the service has; another one knows no pins of the last."""
        try:
            response = await self._upkeep.GetSweeping(upkeep_pb.GetSweepingRequest(), timeout=remaining_s())
        except grpc.aio.AioRpcError as error:
            _translate(error)
        return response.sweeping.index_id

    async def confirm_pins(self, index_id: str) -> None:
        """Everything that the catalog holds is pinned in that index. Raises INDEX_CHANGED where it is another."""
        try:
            await self._upkeep.ConfirmPins(upkeep_pb.ConfirmPinsRequest(index_id=index_id), timeout=remaining_s())
        except grpc.aio.AioRpcError as error:
            _translate(error)

    async def manifest(self, namespace: str, manifest_digest: str) -> Manifest:
        request = pb.GetManifestRequest(namespace=namespace, manifest_digest=manifest_digest)
        try:
            response = await self._stub.GetManifest(request, timeout=remaining_s())
        except grpc.aio.AioRpcError as error:
            _translate(error)
        # A manifest of 64 MiB takes seconds to read.
        return await asyncio.to_thread(Manifest.from_bytes, response.manifest)

    async def read(
        self, namespace: str, manifest_digest: str, path: str, length_bytes: int, offset_bytes: int = 0
    ) -> bytes:
        """Exactly `length_bytes` of the file from `offset_bytes` on; the caller keeps within the file's size."""
        request = pb.ReadFileRequest(
            namespace=namespace,
            manifest_digest=manifest_digest,
            path=path,
            offset_bytes=offset_bytes,
            length_bytes=length_bytes,
        )
        attempts = Attempts(threading.Event(), STARTS)
        while True:
            try:
                return await self._read_once(request)
            except Unavailable as error:
                pause_s = attempts.pause_s(error)
                if pause_s >= remaining_s():
                    raise
                await asyncio.sleep(pause_s)

    async def _read_once(self, request: pb.ReadFileRequest) -> bytes:
        data = bytearray()
        try:
            async for response in self._stub.ReadFile(request, timeout=remaining_s()):
                data += response.chunk
        except grpc.aio.AioRpcError as error:
            _translate(error)
        if len(data) != request.length_bytes:
            raise _unavailable(f"it sent {len(data)} of {request.length_bytes} bytes of a file")
        return bytes(data)


def _translate(error: grpc.aio.AioRpcError) -> NoReturn:
    cause = from_rpc_error(error)
    if isinstance(cause, _PASSED_ON) and cause.reason:
        raise cause from error
    if isinstance(cause, DeadlineExceeded):
        raise DeadlineExceeded(
            "DEADLINE_EXCEEDED", "the artifact service did not answer before the call's deadline: retry"
        ) from error
    if isinstance(cause, Unavailable):
        raise _unavailable(cause.message) from error
    # Ours to mend, not the caller's: it becomes INTERNAL, with this in the log.
    raise RuntimeError(f"the artifact service refused the catalog: {cause.code.name} {cause.reason}") from error


def _unavailable(problem: str) -> ZooError:
    return Unavailable(
        "DEPENDENCY_UNAVAILABLE",
        f"the artifact service does not answer as it should ({problem}): retry",
        metadata={"service": "artifact"},
        retry_after_s=RETRY_AFTER_S,
    )
