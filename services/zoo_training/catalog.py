"""The catalog as the training service sees it: what references mean, who may use it, and publishing what jobs made.

It is asked in the service's own name, which sees everything: what a caller may use is checked here, before.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NoReturn

import grpc

from modelzoo.errors import DeadlineExceeded, FailedPrecondition, NotFound, Unavailable, from_rpc_error
from zoo.catalog.v1 import access_service_pb2 as access_pb
from zoo.catalog.v1 import access_service_pb2_grpc as access_rpc
from zoo.catalog.v1 import catalog_service_pb2 as service_pb
from zoo.catalog.v1 import catalog_service_pb2_grpc as rpc
from zoo.catalog.v1 import edge_pb2
from zoo.catalog.v1 import model_pb2 as pb
from zoo_server.call import remaining_s

__all__ = ["ABSENT", "Catalog", "CatalogAlias", "CatalogModel", "CatalogVersion", "Column", "Dataset", "Split"]

TIMEOUT_S = 20.0
RETRY_AFTER_S = 1.0
# The etag of an alias that does not exist.
ABSENT = "absent"
_USABLE = (pb.VERSION_STATE_READY, pb.VERSION_STATE_DEPRECATED)


@dataclass(frozen=True, slots=True)
class Split:
    """`rows` None: too many to be counted at publishing. `labels` are rows by label; empty where there are none, or
    too many different ones."""

    name: str
    rows: int | None
    labels: Mapping[str, int] = field(default_factory=dict[str, int])


@dataclass(frozen=True, slots=True)
class Column:
    """`type` as in zoo.catalog.v1.Feature; `optional`: some rows have no value."""

    name: str
    type: str
    optional: bool


@dataclass(frozen=True, slots=True)
class Dataset:
    """What the catalog read from a dataset's bytes."""

    format: str
    splits: tuple[Split, ...]
    columns: tuple[Column, ...]


@dataclass(frozen=True, slots=True)
class CatalogVersion:
    """A version that may be used. `reference` is `namespace/name@number`; `dataset` None: it is a model."""

    reference: str
    manifest_digest: str
    task: str
    architecture: str
    format: str
    gated: bool
    dataset: Dataset | None
    metrics: Mapping[tuple[str, str, str], float]

    @property
    def model(self) -> str:
        return self.reference.partition("@")[0]

    @property
    def namespace(self) -> str:
        return self.reference.partition("/")[0]


@dataclass(frozen=True, slots=True)
class CatalogModel:
    """`name` as it was created."""

    name: str
    is_dataset: bool


@dataclass(frozen=True, slots=True)
class CatalogAlias:
    """`versions` by falling weight. Of an alias that does not exist: none, and the etag ABSENT."""

    versions: tuple[int, ...]
    etag: str


class Catalog:
    """Every method raises DEPENDENCY_UNAVAILABLE or DEADLINE_EXCEEDED where the catalog does not answer, and otherwise
    what it says."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self._stub = rpc.CatalogServiceStub(channel)
        self._access = access_rpc.AccessServiceStub(channel)

    async def version(self, reference: str) -> CatalogVersion:
        """What the reference means now. Raises MODEL_NOT_FOUND, VERSION_NOT_FOUND, ALIAS_NOT_FOUND, REFERENCE_INVALID;
        VERSION_STATE_INVALID where the version must not be used."""
        request = service_pb.GetVersionRequest(reference=reference)
        try:
            response = await self._stub.GetVersion(request, timeout=remaining_s(TIMEOUT_S))
        except grpc.aio.AioRpcError as error:
            _translate(error)
        return _version_from_pb(response.version)

    async def model(self, name: str) -> CatalogModel | None:
        """None where there is none of that name."""
        try:
            response = await self._stub.GetModel(service_pb.GetModelRequest(name=name), timeout=remaining_s(TIMEOUT_S))
        except grpc.aio.AioRpcError as error:
            return _none_for(error, "MODEL_NOT_FOUND")
        return CatalogModel(response.model.name, response.model.kind == pb.MODEL_KIND_DATASET)

    async def is_deleted(self, name: str) -> bool:
        """Whether there is a model of that name that was deleted: nobody else gets its name."""
        namespace = name.partition("/")[0]
        request = service_pb.ListModelsRequest(namespace=namespace, filter=f'name = "{name}"', show_deleted=True)
        try:
            response = await self._stub.ListModels(request, timeout=remaining_s(TIMEOUT_S))
        except grpc.aio.AioRpcError as error:
            _translate(error)
        return any(model.HasField("delete_time") for model in response.models)

    async def require_namespace(self, name: str) -> None:
        """Raises NAMESPACE_NOT_FOUND."""
        request = service_pb.GetNamespaceRequest(name=name)
        try:
            await self._stub.GetNamespace(request, timeout=remaining_s(TIMEOUT_S))
        except grpc.aio.AioRpcError as error:
            _translate(error)

    async def refusal(self, model: str, subject: str) -> str | None:
        """Why the subject has no access to the gated model, in a sentence; None where it has. MODEL_NOT_FOUND."""
        request = access_pb.CheckAccessRequest(model=model, subject=subject)
        try:
            found = await self._access.CheckAccess(request, timeout=remaining_s(TIMEOUT_S))
        except grpc.aio.AioRpcError as error:
            _translate(error)
        return None if found.granted else found.refusal

    async def create_model(self, name: str, description: str, owner: str) -> None:
        """Make the model; one that is there stays as it is. Raises NAMESPACE_NOT_FOUND."""
        model = pb.Model(name=name, description=description, owner=owner, kind=pb.MODEL_KIND_MODEL)
        try:
            await self._stub.CreateModel(service_pb.CreateModelRequest(model=model), timeout=remaining_s(TIMEOUT_S))
        except grpc.aio.AioRpcError as error:
            _none_for(error, "MODEL_EXISTS")

    async def create_version(
        self, model: str, manifest_digest: str, request_id: str, source: str, parent: edge_pb2.Parent | None
    ) -> str:
        """Publish, or find what the same request published before; `namespace/name@number`."""
        request = service_pb.CreateVersionRequest(
            model=model,
            manifest_digest=manifest_digest,
            request_id=request_id,
            source=source,
            parents=[] if parent is None else [parent],
        )
        try:
            made = (await self._stub.CreateVersion(request, timeout=remaining_s(TIMEOUT_S))).version
        except grpc.aio.AioRpcError as error:
            _translate(error)
        return f"{made.model}@{made.version}"

    async def set_metrics(self, reference: str, dataset: str, split: str, values: Mapping[str, float]) -> None:
        """Set metrics of a version, in place of those of the same dataset, split and name."""
        request = service_pb.SetMetricsRequest(reference=reference, dataset=dataset, split=split, values=values)
        try:
            await self._stub.SetMetrics(request, timeout=remaining_s(TIMEOUT_S))
        except grpc.aio.AioRpcError as error:
            _translate(error)

    async def alias(self, model: str, name: str) -> CatalogAlias:
        request = service_pb.GetAliasRequest(model=model, alias=name)
        try:
            alias = (await self._stub.GetAlias(request, timeout=remaining_s(TIMEOUT_S))).alias
        except grpc.aio.AioRpcError as error:
            _none_for(error, "ALIAS_NOT_FOUND")
            return CatalogAlias((), ABSENT)
        targets = sorted(alias.targets, key=lambda target: target.weight, reverse=True)
        return CatalogAlias(tuple(target.version for target in targets), alias.etag)

    async def move_alias(self, model: str, name: str, version: int, etag: str) -> None:
        """Raises ETAG_MISMATCH where somebody moved it since it was read, VERSION_STATE_INVALID, SIGNATURE_REQUIRED."""
        alias = pb.Alias(model=model, alias=name, targets=[pb.AliasTarget(version=version)])
        request = service_pb.SetAliasRequest(alias=alias, etag=etag)
        try:
            await self._stub.SetAlias(request, timeout=remaining_s(TIMEOUT_S))
        except grpc.aio.AioRpcError as error:
            _translate(error)


def _translate(error: grpc.aio.AioRpcError) -> NoReturn:
    cause = from_rpc_error(error)
    if isinstance(cause, DeadlineExceeded):
        raise DeadlineExceeded(
            "DEADLINE_EXCEEDED", "the catalog did not answer before the call's deadline: retry"
        ) from error
    if not isinstance(cause, Unavailable):
        raise cause from error
    raise Unavailable(
        "DEPENDENCY_UNAVAILABLE",
        "the catalog does not answer: retry",
        metadata={"service": "catalog"},
        retry_after_s=RETRY_AFTER_S,
    ) from error


def _none_for(error: grpc.aio.AioRpcError, reason: str) -> None:
    """None where the error has this reason; raises any other."""
    if from_rpc_error(error).reason != reason:
        _translate(error)


def _version_from_pb(version: pb.Version) -> CatalogVersion:
    reference = f"{version.model}@{version.version}"
    if version.state == pb.VERSION_STATE_DELETED:
        raise NotFound("VERSION_NOT_FOUND", f"{reference} was deleted: choose another version, or undelete it")
    if version.state not in _USABLE:
        state = pb.VersionState.Name(version.state).removeprefix("VERSION_STATE_")
        why = f" ({version.state_reason})" if version.state_reason else ""
        raise FailedPrecondition(
            "VERSION_STATE_INVALID",
            f"{reference} is {state.lower()}{why} and must not be used: choose another version",
            metadata={"state": state, "reference": reference},
        )
    facts = version.facts
    return CatalogVersion(
        reference=reference,
        manifest_digest=version.manifest_digest,
        task=facts.task,
        architecture=facts.architecture,
        format=facts.format,
        gated=version.gated,
        dataset=_dataset_from_pb(facts.dataset) if facts.HasField("dataset") else None,
        metrics={(metric.dataset, metric.split, metric.name): metric.value for metric in version.metrics},
    )


def _dataset_from_pb(dataset: pb.DatasetFacts) -> Dataset:
    return Dataset(
        format=dataset.format,
        splits=tuple(
            Split(split.name, split.rows if split.HasField("rows") else None, dict(split.labels))
            for split in dataset.splits
        ),
        columns=tuple(Column(feature.name, feature.type, feature.optional) for feature in dataset.features),
    )
