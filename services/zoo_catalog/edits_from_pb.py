"""What requests ask to change, read from their messages."""

from zoo.catalog.v1 import catalog_service_pb2 as pb
from zoo.catalog.v1 import model_pb2
from zoo_catalog.aliases import Serving, Target
from zoo_catalog.edits import VersionEdit
from zoo_catalog.masks import changed_paths
from zoo_catalog.models import ModelEdit, ModelKind
from zoo_catalog.namespaces import NamespaceEdit, NewNamespace
from zoo_catalog.policy import KEEP_CHECKPOINTS, UNDELETE_DAYS, Policy, PolicyEdit
from zoo_catalog.versions import VersionState

__all__ = [
    "kind_from_pb",
    "model_edit",
    "namespace_edit",
    "namespace_from_pb",
    "serving_from_pb",
    "targets_from_pb",
    "version_edit",
]

POLICY_FIELDS = ("allow_opaque", "undelete_days", "keep_versions", "keep_checkpoints")
NAMESPACE_PATHS = ("description", "policy", "quota_bytes", *(f"policy.{name}" for name in POLICY_FIELDS))
MODEL_PATHS = ("description", "owner", "gated")
VERSION_PATHS = ("labels", "labels.*", "state", "state_reason")
LABEL = "labels."


def namespace_from_pb(namespace: model_pb2.Namespace) -> NewNamespace:
    policy = Policy(
        allow_opaque=namespace.policy.allow_opaque,
        undelete_days=_undelete_days(namespace.policy),
        keep_versions=namespace.policy.keep_versions,
        keep_checkpoints=_keep_checkpoints(namespace.policy),
    )
    return NewNamespace(namespace.name, namespace.description, policy, namespace.quota_bytes)


def namespace_edit(request: pb.UpdateNamespaceRequest) -> NamespaceEdit:
    paths, asked = changed_paths(request.update_mask, request.namespace, NAMESPACE_PATHS), request.namespace
    named = {name for name in POLICY_FIELDS if "policy" in paths or f"policy.{name}" in paths}
    return NamespaceEdit(
        description=asked.description if "description" in paths else None,
        policy=PolicyEdit(
            allow_opaque=asked.policy.allow_opaque if "allow_opaque" in named else None,
            undelete_days=_undelete_days(asked.policy) if "undelete_days" in named else None,
            keep_versions=asked.policy.keep_versions if "keep_versions" in named else None,
            keep_checkpoints=_keep_checkpoints(asked.policy) if "keep_checkpoints" in named else None,
        ),
        quota_bytes=asked.quota_bytes if "quota_bytes" in paths else None,
    )


def model_edit(request: pb.UpdateModelRequest) -> ModelEdit:
    paths, asked = changed_paths(request.update_mask, request.model, MODEL_PATHS), request.model
    return ModelEdit(
        description=asked.description if "description" in paths else None,
        owner=asked.owner if "owner" in paths else None,
        gated=asked.gated if "gated" in paths else None,
    )


def kind_from_pb(model: model_pb2.Model) -> ModelKind:
    return ModelKind.DATASET if model.kind == model_pb2.MODEL_KIND_DATASET else ModelKind.MODEL


def version_edit(request: pb.UpdateVersionRequest) -> VersionEdit:
    paths, asked = changed_paths(request.update_mask, request.version, VERSION_PATHS), request.version
    names = [path.removeprefix(LABEL) for path in paths if path.startswith(LABEL)]
    return VersionEdit(
        labels=dict(asked.labels) if "labels" in paths else None,
        label_edits={name: asked.labels.get(name) for name in names},
        state=VersionState(_state_name(asked)) if "state" in paths and asked.state else None,
        # A new state takes the reason that comes with it.
        state_reason=asked.state_reason if "state_reason" in paths or "state" in paths else None,
    )


def targets_from_pb(alias: model_pb2.Alias) -> tuple[Target, ...]:
    return tuple(Target(target.version, target.weight) for target in alias.targets)


def serving_from_pb(alias: model_pb2.Alias) -> Serving | None:
    if not alias.HasField("serving"):
        return None
    serving = alias.serving
    return Serving(
        min_workers=serving.min_workers,
        max_workers=serving.max_workers,
        resource_class=serving.resource_class,
        pinned=serving.pinned,
        options=dict(serving.options),
    )


def _undelete_days(policy: model_pb2.NamespacePolicy) -> int:
    return policy.undelete_days if policy.HasField("undelete_days") else UNDELETE_DAYS


def _keep_checkpoints(policy: model_pb2.NamespacePolicy) -> int:
    return policy.keep_checkpoints if policy.HasField("keep_checkpoints") else KEEP_CHECKPOINTS


def _state_name(version: model_pb2.Version) -> str:
    return model_pb2.VersionState.Name(version.state).removeprefix("VERSION_STATE_")
