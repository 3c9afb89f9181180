"""Changing what is in the catalog: namespaces, models, versions and what was measured with them."""

import uuid
from collections.abc import Mapping, Sequence

import grpc
from google.protobuf.field_mask_pb2 import FieldMask

from modelzoo import records, wire
from modelzoo.calls import building, translated
from modelzoo.errors import InvalidArgument
from modelzoo.reference import Version, parse
from zoo.catalog.v1 import catalog_service_pb2 as pb
from zoo.catalog.v1 import catalog_service_pb2_grpc as rpc
from zoo.catalog.v1 import model_pb2

__all__ = ["Manage"]


class Manage:
    """What is None stays as it is. With `etag`, a change is made only if that is still the current one (ETAG_MISMATCH
    otherwise). What is deleted can be undeleted until its `purge_time`; doing either again changes nothing.
    """

    def __init__(self, channel: grpc.Channel) -> None:
        self._catalog = rpc.CatalogServiceStub(channel)

    # Namespaces

    def namespace(self, name: str) -> records.Namespace:
        """The namespace, with the bytes that count towards its quota."""
        with translated():
            response = self._catalog.GetNamespace(pb.GetNamespaceRequest(name=name))
        return wire.namespace(response.namespace, response.used_bytes)

    def update_namespace(
        self,
        name: str,
        *,
        description: str | None = None,
        quota_bytes: int | None = None,
        allow_opaque: bool | None = None,
        undelete_days: int | None = None,
        keep_versions: int | None = None,
        keep_checkpoints: int | None = None,
        etag: str = "",
    ) -> records.Namespace:
        """Change a namespace; 0 takes a quota, or the limit of versions to keep, away."""
        policy = {
            "allow_opaque": allow_opaque,
            "undelete_days": undelete_days,
            "keep_versions": keep_versions,
            "keep_checkpoints": keep_checkpoints,
        }
        policy = {field: value for field, value in policy.items() if value is not None}
        given = {"description": description, "quota_bytes": quota_bytes}
        given = {field: value for field, value in given.items() if value is not None}
        paths = [*given, *(f"policy.{field}" for field in policy)]
        _require_some(paths)
        with building():
            namespace = model_pb2.Namespace(
                name=name,
                etag=etag,
                policy=model_pb2.NamespacePolicy(**policy),  # pyright: ignore[reportArgumentType]
                **given,  # pyright: ignore[reportArgumentType]
            )
            request = pb.UpdateNamespaceRequest(namespace=namespace, update_mask=FieldMask(paths=paths))
        with translated():
            return wire.namespace(self._catalog.UpdateNamespace(request).namespace)

    def delete_namespace(self, name: str, *, etag: str = "") -> None:
        """Delete a namespace without models, for good; NAMESPACE_NOT_EMPTY otherwise."""
        with translated():
            self._catalog.DeleteNamespace(pb.DeleteNamespaceRequest(name=name, etag=etag))

    # Models

    def create_model(
        self, name: str, *, description: str = "", owner: str = "", gated: bool = False, kind: str = "MODEL"
    ) -> records.Model:
        """A model without versions; `kind` is MODEL or DATASET. Pushing makes models, too: plain ones."""
        with building():
            model = model_pb2.Model(
                name=parse(name).model,
                description=description,
                owner=owner,
                gated=gated,
                kind=model_pb2.ModelKind.Value(f"MODEL_KIND_{kind.upper()}"),
            )
            request = pb.CreateModelRequest(model=model, request_id=uuid.uuid4().hex)
        with translated():
            return wire.model(self._catalog.CreateModel(request).model)

    def update_model(
        self,
        ref: str,
        *,
        description: str | None = None,
        owner: str | None = None,
        gated: bool | None = None,
        etag: str = "",
    ) -> records.Model:
        """Change a model."""
        given = {"description": description, "owner": owner, "gated": gated}
        given = {field: value for field, value in given.items() if value is not None}
        _require_some(list(given))
        with building():
            model = model_pb2.Model(
                name=parse(ref).model,
                etag=etag,
                **given,  # pyright: ignore[reportArgumentType]
            )
            request = pb.UpdateModelRequest(model=model, update_mask=FieldMask(paths=list(given)))
        with translated():
            return wire.model(self._catalog.UpdateModel(request).model)

    def delete_model(self, ref: str, *, etag: str = "") -> records.Model:
        """Delete a model with all its versions and aliases."""
        request = pb.DeleteModelRequest(name=_model(ref), etag=etag)
        with translated():
            return wire.model(self._catalog.DeleteModel(request).model)

    def undelete_model(self, ref: str) -> records.Model:
        """Bring a deleted model back as it was."""
        request = pb.UndeleteModelRequest(name=_model(ref))
        with translated():
            return wire.model(self._catalog.UndeleteModel(request).model)

    # Versions; a reference here is `name@number`, so that nothing is hit that moved in between

    def label(self, ref: str, labels: Mapping[str, str | None], *, etag: str = "") -> records.Version:
        """Set these labels of a version; None removes one. Others stay."""
        _require_some(list(labels))
        with building():
            version = self._named(ref, etag)
            version.labels.update({name: value for name, value in labels.items() if value is not None})
            mask = FieldMask(paths=[f"labels.{name}" for name in labels])
        return self._update(version, mask)

    def deprecate(self, ref: str, reason: str = "", *, etag: str = "") -> records.Version:
        """Say that another version should be used. It can be used all the same."""
        version = self._named(ref, etag)
        with building():
            version.MergeFrom(model_pb2.Version(state=model_pb2.VERSION_STATE_DEPRECATED, state_reason=reason))
        return self._update(version, FieldMask(paths=["state", "state_reason"]))

    def reinstate(self, ref: str, *, etag: str = "") -> records.Version:
        """Take the deprecation of a version back."""
        version = self._named(ref, etag)
        version.state = model_pb2.VERSION_STATE_READY
        return self._update(version, FieldMask(paths=["state", "state_reason"]))

    def quarantine(self, ref: str, reason: str) -> list[records.Version]:
        """Take a version out of use, and those of its namespace with the same files; all of them. For admins."""
        with building():
            request = pb.QuarantineVersionRequest(reference=str(parse(ref)), reason=reason)
        with translated():
            return [wire.version(version) for version in self._catalog.QuarantineVersion(request).versions]

    def release(self, ref: str) -> list[records.Version]:
        """Put a quarantined version, and those of its namespace with the same files, back into use; all of them."""
        request = pb.ReleaseVersionRequest(reference=str(parse(ref)))
        with translated():
            return [wire.version(version) for version in self._catalog.ReleaseVersion(request).versions]

    def delete_version(self, ref: str, *, etag: str = "") -> records.Version:
        """Delete a version; VERSION_IN_USE while an alias targets it."""
        named = self._named(ref, etag)
        request = pb.DeleteVersionRequest(model=named.model, version=named.version, etag=etag)
        with translated():
            return wire.version(self._catalog.DeleteVersion(request).version)

    def undelete_version(self, ref: str) -> records.Version:
        """Bring a deleted version back in the state that it had."""
        named = self._named(ref)
        request = pb.UndeleteVersionRequest(model=named.model, version=named.version)
        with translated():
            return wire.version(self._catalog.UndeleteVersion(request).version)

    def purge_version(self, ref: str) -> records.Version:
        """Let go of a deleted version's bytes now, for good."""
        named = self._named(ref)
        request = pb.PurgeVersionRequest(model=named.model, version=named.version)
        with translated():
            return wire.version(self._catalog.PurgeVersion(request).version)

    def set_metrics(self, ref: str, dataset: str, values: Mapping[str, float], *, split: str = "") -> records.Version:
        """Set finite numbers by name, measured with a dataset (a reference or a free name). Others stay."""
        with building():
            request = pb.SetMetricsRequest(reference=str(parse(ref)), dataset=dataset, split=split, values=values)
        with translated():
            return wire.version(self._catalog.SetMetrics(request).version)

    def _named(self, ref: str, etag: str = "") -> model_pb2.Version:
        parsed = parse(ref)
        if not isinstance(parsed.selector, Version):
            raise InvalidArgument(
                "REFERENCE_INVALID", f"{ref!a} may mean another version at any time: name one, as {parsed.model}@1."
            )
        return model_pb2.Version(model=parsed.model, version=parsed.selector.number, etag=etag)

    def _update(self, version: model_pb2.Version, mask: FieldMask) -> records.Version:
        with translated():
            response = self._catalog.UpdateVersion(pb.UpdateVersionRequest(version=version, update_mask=mask))
        return wire.version(response.version)


def _model(ref: str) -> str:
    """Of a reference without a selector: whoever names a version means no more than that."""
    parsed = parse(ref)
    if "@" in ref:
        raise InvalidArgument("REFERENCE_INVALID", f"{ref!a} names a version, and this is about {parsed.model}.")
    return parsed.model


def _require_some(changes: Sequence[str]) -> None:
    if not changes:
        raise InvalidArgument("FIELD_INVALID", "There is nothing to change: say what.")
