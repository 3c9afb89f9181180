"""The artifact service as the training service sees it: pins, and which index knows them."""

from typing import NoReturn

import grpc

from modelzoo.errors import DeadlineExceeded, Unavailable, from_rpc_error
from zoo.artifact.v1 import artifact_service_pb2 as pb
from zoo.artifact.v1 import artifact_service_pb2_grpc as rpc
from zoo.artifact.v1 import upkeep_service_pb2 as upkeep_pb
from zoo.artifact.v1 import upkeep_service_pb2_grpc as upkeep_rpc
from zoo_server.call import remaining_s

__all__ = ["Artifacts"]

TIMEOUT_S = 20.0
RETRY_AFTER_S = 1.0


class Artifacts:
    """Every method raises DEPENDENCY_UNAVAILABLE or DEADLINE_EXCEEDED where the service or its storage does not answer,
    and otherwise what it says."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self._stub = rpc.ArtifactServiceStub(channel)
        self._upkeep = upkeep_rpc.UpkeepServiceStub(channel)

    async def pin(self, namespace: str, manifest_digest: str, holder: str) -> None:
        """Keep the manifest until `holder` lets go of it. Doing it twice changes nothing. Raises MANIFEST_NOT_FOUND."""
        request = pb.PinRequest(namespace=namespace, manifest_digest=manifest_digest, holder=holder)
        try:
            await self._stub.Pin(request, timeout=remaining_s(TIMEOUT_S))
        except grpc.aio.AioRpcError as error:
            _translate(error)

    async def unpin(self, namespace: str, manifest_digest: str, holder: str) -> None:
        """Let go of the manifest. Doing it twice, or for a pin that never was, changes nothing."""
        request = pb.UnpinRequest(namespace=namespace, manifest_digest=manifest_digest, holder=holder)
        try:
            await self._stub.Unpin(request, timeout=remaining_s(TIMEOUT_S))
        except grpc.aio.AioRpcError as error:
            _translate(error)

    async def index_id(self) -> str:
        """Which index the service has; another one knows no pins of the last."""
        request = upkeep_pb.GetSweepingRequest()
        try:
            response = await self._upkeep.GetSweeping(request, timeout=remaining_s(TIMEOUT_S))
        except grpc.aio.AioRpcError as error:
            _translate(error)
        return response.sweeping.index_id

    async def confirm_pins(self, index_id: str) -> None:
        """Say that everything is pinned in that index. Raises INDEX_CHANGED where it is another by now."""
        request = upkeep_pb.ConfirmPinsRequest(index_id=index_id)
        try:
            await self._upkeep.ConfirmPins(request, timeout=remaining_s(TIMEOUT_S))
        except grpc.aio.AioRpcError as error:
            _translate(error)


def _translate(error: grpc.aio.AioRpcError) -> NoReturn:
    cause = from_rpc_error(error)
    if isinstance(cause, DeadlineExceeded):
        raise DeadlineExceeded(
            "DEADLINE_EXCEEDED", "the artifact service did not answer before the call's deadline: retry"
        ) from error
    if not isinstance(cause, Unavailable):
        raise cause from error
    raise Unavailable(
        "DEPENDENCY_UNAVAILABLE",
        f"the artifact service does not answer as it should ({cause.message}): retry",
        metadata={"service": "artifact"},
        retry_after_s=RETRY_AFTER_S,
    ) from error
