"""The catalog as a worker sees it: what a reference means."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

import grpc

from modelzoo.errors import FailedPrecondition, Unavailable, ZooError, from_rpc_error
from zoo.catalog.v1 import access_service_pb2 as access_pb
from zoo.catalog.v1 import access_service_pb2_grpc as access_rpc
from zoo.catalog.v1 import catalog_service_pb2 as service_pb
from zoo.catalog.v1 import catalog_service_pb2_grpc as rpc
from zoo.catalog.v1 import model_pb2 as pb
from zoo_server.call import remaining_s

__all__ = ["TIMEOUT_S", "Catalog", "GrpcCatalog", "Version", "translate"]

TIMEOUT_S = 10.0
RETRY_AFTER_S = 1.0
_USABLE = (pb.VERSION_STATE_READY, pb.VERSION_STATE_DEPRECATED)


@dataclass(frozen=True, slots=True)
class Version:
    """A version that may be run. `reference` is `namespace/name@number`.

    `architecture` and `dtype_bytes` (bytes of tensors by safetensors' dtype name) are empty where nothing is known. A
    `gated` one may be run by publishers and by subjects with an approved request alone.
    """

    reference: str
    manifest_digest: str
    architecture: str = ""
    dtype_bytes: Mapping[str, int] = field(default_factory=dict[str, int])
    gated: bool = False

    @property
    def namespace(self) -> str:
        return self.reference.partition("/")[0]


class Catalog(Protocol):
    async def version(self, reference: str) -> Version:
        """What the reference means now.

        Raises MODEL_NOT_FOUND, VERSION_NOT_FOUND, ALIAS_NOT_FOUND, REFERENCE_INVALID; VERSION_STATE_INVALID where the
        version must not be run; Unavailable or DeadlineExceeded where the catalog does not answer.
        """
        ...

    async def grants(self, model: str, subject: str) -> bool:
        """Whether the subject has access to the gated model `namespace/name`.

        Raises MODEL_NOT_FOUND; Unavailable or DeadlineExceeded where the catalog does not answer.
        """
        ...


class GrpcCatalog:
    """The catalog service, asked in the worker's own name: it sees everything, and the caller's role was checked."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self._stub = rpc.CatalogServiceStub(channel)
        self._access = access_rpc.AccessServiceStub(channel)

    async def version(self, reference: str) -> Version:
        request = service_pb.GetVersionRequest(reference=reference)
        try:
            response = await self._stub.GetVersion(request, timeout=remaining_s(TIMEOUT_S))
        except grpc.aio.AioRpcError as error:
            raise translate(error) from error
        return _from_pb(response.version)

    async def grants(self, model: str, subject: str) -> bool:
        request = access_pb.CheckAccessRequest(model=model, subject=subject)
        try:
            return (await self._access.CheckAccess(request, timeout=remaining_s(TIMEOUT_S))).granted
        except grpc.aio.AioRpcError as error:
            raise translate(error) from error


def translate(error: grpc.aio.AioRpcError) -> ZooError:
    """What the catalog said, or DEPENDENCY_UNAVAILABLE where it does not answer."""
    cause = from_rpc_error(error)
    if not isinstance(cause, Unavailable):
        return cause
    return Unavailable(
        "DEPENDENCY_UNAVAILABLE",
        "the catalog does not answer: retry",
        metadata={"service": "catalog"},
        retry_after_s=RETRY_AFTER_S,
    )


def _from_pb(version: pb.Version) -> Version:
    reference = f"{version.model}@{version.version}"
    if version.state not in _USABLE:
        state = pb.VersionState.Name(version.state).removeprefix("VERSION_STATE_")
        why = f" ({version.state_reason})" if version.state_reason else ""
        raise FailedPrecondition(
            "VERSION_STATE_INVALID",
            f"{reference} is {state.lower()}{why} and must not be run: use another version",
            metadata={"state": state},
        )
    facts = version.facts
    return Version(reference, version.manifest_digest, facts.architecture, dict(facts.dtype_bytes), gated=version.gated)
