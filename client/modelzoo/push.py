"""Publishes a directory as the next version of a model."""

import time
import uuid
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import grpc

from modelzoo import history_wire, records, wire
from modelzoo.calls import building, translated
from modelzoo.errors import AlreadyExists, InvalidArgument, NotFound
from modelzoo.lineage import Lineages
from modelzoo.progress import Progress
from modelzoo.push_checks import (
    DATASET,
    check_dataset,
    check_files,
    check_format,
    check_kind,
    check_loadable,
    guess_format,
)
from modelzoo.records import PushResult
from modelzoo.reference import Alias, Reference
from modelzoo.room import check_room
from modelzoo.tree import read_tree
from modelzoo.upload import Base, upload
from zoo.catalog.v1 import catalog_service_pb2 as pb
from zoo.catalog.v1 import catalog_service_pb2_grpc as rpc
from zoo.catalog.v1 import edge_pb2, model_pb2

__all__ = ["push"]

BASES_MAX = 16  # what FindMissingBlobs takes


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
    `danger_in` answers; what `check_kind`, `check_room` and, without a format, `check_loadable` raise; and what the
    catalog refuses: ROLE_MISSING, NAMESPACE_NOT_FOUND, MODEL_NOT_FOUND of a deleted one.
    A push that is refused leaves no model behind.
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
    if format is not None:
        check_format(format)
    was_guessed, format = format is None, format or guess_format(tree)
    check_files(channel, tree, model.namespace, format)
    if format == DATASET:
        check_dataset(tree)
    catalog, lineages = rpc.CatalogServiceStub(channel), Lineages(channel)
    there = _model(catalog, model)
    if there is not None:
        check_kind(there, format)
        if was_guessed:
            check_loadable(catalog, there, tree)
    elif create_namespace:
        _ensure_namespace(catalog, model)
    latest = None if there is None else _latest(catalog, model)
    known = [Base(model.namespace, latest.manifest_digest)] if latest else []
    shared = [*known, *bases][:BASES_MAX]
    check_room(channel, model, tree, format, shared)
    uploaded = upload(channel, tree, model.namespace, format=format, bases=shared, progress=progress)
    if there is None:  # not before: of a push that is refused, no name may be left
        _make_model(catalog, model, is_dataset=format == DATASET)
    is_new = latest is None or latest.manifest_digest != uploaded.digest
    if latest is None or is_new:
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
        is_new=is_new,
    )


def _model(catalog: rpc.CatalogServiceStub, model: Reference) -> records.Model | None:
    try:
        with translated():
            return wire.model(catalog.GetModel(pb.GetModelRequest(name=model.model)).model)
    except NotFound as error:
        if error.metadata.get("state"):  # deleted: there will never be another of that name
            raise
        return None


def _ensure_namespace(catalog: rpc.CatalogServiceStub, model: Reference) -> None:
    with suppress(AlreadyExists), translated():
        namespace = model_pb2.Namespace(name=model.namespace)
        catalog.CreateNamespace(pb.CreateNamespaceRequest(namespace=namespace))


def _make_model(catalog: rpc.CatalogServiceStub, model: Reference, *, is_dataset: bool) -> None:
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
