"""Publishes a directory as the next version of a model."""

import time
import uuid
from collections.abc import Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path

import grpc

from modelzoo import history_wire, records, wire
from modelzoo.calls import building, translated
from modelzoo.datasets import read_dataset
from modelzoo.errors import AlreadyExists, FailedPrecondition, InvalidArgument, NotFound
from modelzoo.gguf_header import check_gguf
from modelzoo.lineage import Lineages
from modelzoo.progress import Progress
from modelzoo.records import PushResult
from modelzoo.reference import Alias, Reference
from modelzoo.sniff import danger_in
from modelzoo.tree import Tree, read_tree
from modelzoo.upload import Base, upload
from zoo.artifact.v1 import artifact_service_pb2 as artifact_pb
from zoo.artifact.v1 import artifact_service_pb2_grpc as artifact_rpc
from zoo.catalog.v1 import catalog_service_pb2 as pb
from zoo.catalog.v1 import catalog_service_pb2_grpc as rpc
from zoo.catalog.v1 import edge_pb2, model_pb2

__all__ = ["guess_format", "push", "what_lacks"]

BASES_MAX = 16  # what FindMissingBlobs takes
DATASET = "dataset"
OPAQUE = "opaque"


def push(
    channel: grpc.Channel,
    directory: Path,
    model: Reference,
    *,
    format: str | None = None,
    source: str = "",
    alias: str | None = None,
    bases: Sequence[Base] = (),
    parents: Sequence[records.Parent] = (),
    create_namespace: bool = False,
    progress: Progress | None = None,
    request_id: str = "",
) -> PushResult:
    """Publish the files below `directory` as a version of `model`, which is made if need be, and move `alias` to it.

    Blobs that the latest version or a base has are not sent. Repeating a push that broke off sends what is missing;
    pushing what is the latest version already publishes nothing and answers that version. `parents` are what it was
    made from; the latest version gets them, too, where it lacks them. With `request_id`, the version is published once,
    whoever pushes the same files with it.
    Raises REFERENCE_INVALID for a `model` with a selector, and what `read_tree` and `upload` raise; GGUF_INVALID;
    DATASET_INVALID for the format `dataset`; unless the format is `opaque` and the namespace takes such files, what
    `danger_in` answers; and what the catalog refuses: ROLE_MISSING, NAMESPACE_NOT_FOUND.
    """
    if model.selector is not None:
        raise InvalidArgument(
            "REFERENCE_INVALID", f"The zoo gives versions their numbers: push to {model.model}, without '@'."
        )
    wanted = None if alias is None else Alias(alias)  # refused before anything is sent
    with building():  # this, too
        said = [history_wire.parent_to_pb(parent) for parent in parents]
    started = time.monotonic()
    tree = read_tree(directory)
    format = format or guess_format(tree)
    _check_files(channel, tree, model.namespace, format)
    if format == DATASET:
        _check_dataset(tree)
    catalog, lineages = rpc.CatalogServiceStub(channel), Lineages(channel)
    _ensure_model(catalog, model, create_namespace, is_dataset=format == DATASET)
    latest = _latest(catalog, model)
    known = [Base(model.namespace, latest.manifest_digest)] if latest else []
    uploaded = upload(
        channel,
        tree,
        model.namespace,
        format=format,
        bases=[*known, *bases][:BASES_MAX],
        progress=progress,
    )
    if latest is None or latest.manifest_digest != uploaded.digest:
        latest = _create_version(catalog, model, uploaded.digest, source, said, request_id or uuid.uuid4().hex)
    else:
        for parent in parents:
            lineages.create_edge(latest.reference, parent)
    if wanted is not None:
        _set_alias(catalog, latest, wanted)
    return PushResult(
        reference=latest.reference,
        digest=uploaded.digest,
        bytes_total=tree.size_bytes,
        bytes_sent=uploaded.bytes_sent,
        seconds=time.monotonic() - started,
        skipped=tree.skipped,
    )


def _check_files(channel: grpc.Channel, tree: Tree, namespace: str, format: str) -> None:
    """As the service would, but before anything is sent."""
    takes_danger: bool | None = None if format == OPAQUE else False
    for entry in tree.files:
        opener = partial(tree.source(entry.path).open, "rb")
        try:
            danger = danger_in(entry.path, opener)
            if danger is not None and takes_danger is None:
                takes_danger = _takes_opaque(channel, namespace)
            if danger is not None and not takes_danger:
                raise danger
            if entry.path.lower().endswith(".gguf"):
                with opener() as file:
                    check_gguf(entry.path, file, entry.size)
        except OSError as error:
            raise InvalidArgument("LOCAL_PATH_INVALID", f"{entry.path!a} cannot be read: {error.strerror}.") from error


def _check_dataset(tree: Tree) -> None:
    """As the catalog will, but before anything is sent."""
    try:
        read_dataset({entry.path: entry.size for entry in tree.files}, lambda path: tree.source(path).open("rb"))
    except OSError as error:
        raise InvalidArgument("LOCAL_PATH_INVALID", f"{error.filename!a} cannot be read: {error.strerror}.") from error
    except FailedPrecondition:
        return  # what reads Parquet is not installed here; the catalog has it


def _takes_opaque(channel: grpc.Channel, namespace: str) -> bool:
    stub = artifact_rpc.ArtifactServiceStub(channel)
    with translated():
        request = artifact_pb.GetNamespacePolicyRequest(namespace=namespace)
        return stub.GetNamespacePolicy(request).policy.allow_opaque


def guess_format(tree: Tree) -> str:
    """The manifest format that the files' names speak for; `opaque` where they say nothing."""
    names = {entry.path for entry in tree.files}
    suffixes = {Path(name).suffix.lower() for name in names}
    if "adapter_config.json" in names and ".safetensors" in suffixes:
        return "adapter"
    if "config.json" in names and ".safetensors" in suffixes:
        return "transformers"
    if ".onnx" in suffixes:
        return "onnx"
    return "gguf" if ".gguf" in suffixes else "opaque"


def what_lacks(tree: Tree) -> str | None:
    """What keeps every worker from loading these files as a model, in words; None where nothing is seen that does."""
    format = guess_format(tree)
    if format != "opaque":
        return "its weights are GGUF" if format == "gguf" else None
    names = {entry.path for entry in tree.files}
    if "config.json" in names:
        return "there are no *.safetensors beside config.json"
    has_weights = any(name.lower().endswith(".safetensors") for name in names)
    return "there is no config.json beside the safetensors" if has_weights else "there are no weights"


def _ensure_model(
    catalog: rpc.CatalogServiceStub, model: Reference, create_namespace: bool, *, is_dataset: bool
) -> None:
    with suppress(NotFound), translated():
        catalog.GetModel(pb.GetModelRequest(name=model.model))
        return
    if create_namespace:
        with suppress(AlreadyExists), translated():
            namespace = model_pb2.Namespace(name=model.namespace)
            catalog.CreateNamespace(pb.CreateNamespaceRequest(namespace=namespace))
    kind = model_pb2.MODEL_KIND_DATASET if is_dataset else model_pb2.MODEL_KIND_MODEL
    with suppress(AlreadyExists), translated():
        made = model_pb2.Model(name=model.model, kind=kind)
        catalog.CreateModel(pb.CreateModelRequest(model=made, request_id=uuid.uuid4().hex))


def _latest(catalog: rpc.CatalogServiceStub, model: Reference) -> records.Version | None:
    with suppress(NotFound), translated():
        return wire.version(catalog.GetVersion(pb.GetVersionRequest(reference=model.model)).version)
    return None


def _create_version(
    catalog: rpc.CatalogServiceStub,
    model: Reference,
    digest: str,
    source: str,
    parents: Sequence[edge_pb2.Parent],
    request_id: str,
) -> records.Version:
    with building():
        request = pb.CreateVersionRequest(
            model=model.model, manifest_digest=digest, request_id=request_id, source=source, parents=parents
        )
    with translated():
        return wire.version(catalog.CreateVersion(request).version)


def _set_alias(catalog: rpc.CatalogServiceStub, version: records.Version, alias: Alias) -> None:
    targets = [model_pb2.AliasTarget(version=version.version)]
    with translated():
        catalog.SetAlias(
            pb.SetAliasRequest(alias=model_pb2.Alias(model=version.model, alias=alias.name, targets=targets))
        )
