"""The catalog as a worker sees it: what a reference means."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Protocol

import grpc

from modelzoo.adapter_base import FORMAT as ADAPTER
from modelzoo.adapter_base import base_missing, base_named, check_base
from modelzoo.errors import FailedPrecondition, NotFound, Unavailable, ZooError, from_rpc_error
from modelzoo.history_wire import lineage
from zoo.catalog.v1 import access_service_pb2 as access_pb
from zoo.catalog.v1 import access_service_pb2_grpc as access_rpc
from zoo.catalog.v1 import catalog_service_pb2 as service_pb
from zoo.catalog.v1 import catalog_service_pb2_grpc as rpc
from zoo.catalog.v1 import lineage_service_pb2 as lineage_pb
from zoo.catalog.v1 import lineage_service_pb2_grpc as lineage_rpc
from zoo.catalog.v1 import model_pb2 as pb
from zoo_server.call import remaining_s

__all__ = ["TIMEOUT_S", "Catalog", "GrpcCatalog", "Version", "translate"]

TIMEOUT_S = 10.0
RETRY_AFTER_S = 1.0
_SEE_LINEAGE = "`zoo lineage REF --up` shows what its lineage says"
_USABLE = (pb.VERSION_STATE_READY, pb.VERSION_STATE_DEPRECATED)


@dataclass(frozen=True, slots=True)
class Version:
    """A version that may be run. `reference` is `namespace/name@number`.

    `architecture` and `dtype_bytes` (bytes of tensors by safetensors' dtype name) are empty where nothing is known. A
    `gated` one may be run by publishers and by subjects with an approved request alone. An adapter has a `base`, which
    it is added to; `architecture` and `dtype_bytes` are then the base's.
    """

    reference: str
    manifest_digest: str
    architecture: str = ""
    dtype_bytes: Mapping[str, int] = field(default_factory=dict[str, int])
    gated: bool = False
    base: "Version | None" = None

    @property
    def key(self) -> str:
        """The same for versions that are the same model in memory. The same adapter has several bases where several say
        that it is theirs."""
        return self.manifest_digest if self.base is None else f"{self.manifest_digest}+{self.base.manifest_digest}"

    @property
    def parts(self) -> tuple["Version", ...]:
        """Itself and its base: all whose files it is made of."""
        return (self,) if self.base is None else (self, self.base)

    @property
    def namespace(self) -> str:
        return self.reference.partition("/")[0]


class Catalog(Protocol):
    async def version(self, reference: str) -> Version:
        """What the reference means now.

        Raises MODEL_NOT_FOUND, VERSION_NOT_FOUND, ALIAS_NOT_FOUND, REFERENCE_INVALID; VERSION_STATE_INVALID where the
        version must not be run; of an adapter, ADAPTER_BASE_MISSING where its base is not known or must not be run, and
        ADAPTER_UNSUITABLE where that is an adapter itself; Unavailable or DeadlineExceeded where the catalog does not
        answer.
        """
        ...

    async def refusal(self, model: str, subject: str) -> str | None:
        """Why the subject has no access to the gated model `namespace/name`, in a sentence for it; None where it has.

        Raises MODEL_NOT_FOUND; Unavailable or DeadlineExceeded where the catalog does not answer.
        """
        ...


class GrpcCatalog:
    """The catalog service, asked in the worker's own name: it sees everything, and the caller's role was checked."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self._stub = rpc.CatalogServiceStub(channel)
        self._access = access_rpc.AccessServiceStub(channel)
        self._lineage = lineage_rpc.LineageServiceStub(channel)

    async def version(self, reference: str) -> Version:
        found = await self._get(reference)
        version = _from_pb(found)
        return version if found.facts.format != ADAPTER else await self._with_base(version)

    async def _with_base(self, adapter: Version) -> Version:
        request = lineage_pb.GetLineageRequest(
            reference=adapter.reference, direction=lineage_pb.LINEAGE_DIRECTION_UP, depth=1
        )
        try:
            response = await self._lineage.GetLineage(request, timeout=remaining_s(TIMEOUT_S))
        except grpc.aio.AioRpcError as error:
            raise translate(error) from error
        # Who may use the adapter need not be one who may see its base: no message says which it is.
        try:
            found = await self._get(base_named(lineage(response), adapter.reference))
            base = _from_pb(found)
        except NotFound as error:
            raise base_missing(adapter.reference, f"that is not there any more: {_SEE_LINEAGE}") from error
        except FailedPrecondition as error:
            if error.reason != "VERSION_STATE_INVALID":
                raise
            state = error.metadata.get("state", "").lower()
            why = f"that is {state} and must not be run: bring it back; {_SEE_LINEAGE}"
            raise base_missing(adapter.reference, why) from error
        check_base(found.facts.format, adapter.reference)
        return replace(adapter, architecture=base.architecture, dtype_bytes=base.dtype_bytes, base=base)

    async def _get(self, reference: str) -> pb.Version:
        request = service_pb.GetVersionRequest(reference=reference)
        try:
            return (await self._stub.GetVersion(request, timeout=remaining_s(TIMEOUT_S))).version
        except grpc.aio.AioRpcError as error:
            raise translate(error) from error

    async def refusal(self, model: str, subject: str) -> str | None:
        request = access_pb.CheckAccessRequest(model=model, subject=subject)
        try:
            found = await self._access.CheckAccess(request, timeout=remaining_s(TIMEOUT_S))
        except grpc.aio.AioRpcError as error:
            raise translate(error) from error
        return None if found.granted else found.refusal


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
