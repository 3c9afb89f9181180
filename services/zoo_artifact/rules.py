"""Who may call what of the artifact service."""

from collections.abc import Iterable

from modelzoo.errors import NotFound, PermissionDenied, ZooError
from zoo.artifact.v1 import artifact_service_pb2 as pb
from zoo.artifact.v1 import upkeep_service_pb2 as upkeep_pb
from zoo_server.authorization import Needs, Rules
from zoo_server.principal import EVERYWHERE, Role

__all__ = ["BASES", "FOR_OTHERS", "RULES", "SERVICE", "UPKEEP", "UPKEEP_RULES", "manifest_not_found"]

SERVICE = "zoo.artifact.v1.ArtifactService"
UPKEEP = "zoo.artifact.v1.UpkeepService"

Reading = pb.GetManifestRequest | pb.ReadFileRequest | pb.SignReadsRequest
Writing = (
    pb.FindMissingBlobsRequest
    | pb.SignWritesRequest
    | pb.CommitBlobsRequest
    | pb.PutManifestRequest
    | pb.PinRequest
    | pb.UnpinRequest
)
Deciding = (
    pb.QuarantineManifestRequest
    | pb.ReleaseManifestRequest
    | pb.SetNamespacePolicyRequest
    | pb.GetNamespacePolicyRequest
)
WithBases = pb.FindMissingBlobsRequest | pb.PutManifestRequest


def manifest_not_found(namespace: str, manifest_digest: str) -> NotFound:
    """The one answer for what is not there and for what the caller may not know of."""
    return NotFound(
        "MANIFEST_NOT_FOUND",
        f"namespace {namespace!a} has no manifest sha256:{manifest_digest}, or none that you may read: "
        "check both, or ask for a grant",
        metadata={"namespace": namespace, "manifest_digest": manifest_digest},
    )


def _namespace(message: Reading | Writing | Deciding) -> Iterable[str]:
    return (message.namespace,)


def _header(message: pb.WriteBlobsRequest) -> Iterable[str]:
    # Later messages name none; that the first is a header is for the upload to enforce.
    return (message.header.namespace,) if message.HasField("header") else ()


def _bases(message: WithBases) -> Iterable[str]:
    return (base.namespace for base in message.bases)


def _hidden(message: Reading) -> NotFound:
    return manifest_not_found(message.namespace, message.manifest_digest)


_READ = Needs(Role.VIEWER, _namespace, _hidden)
_WRITE = Needs(Role.PUBLISHER, _namespace)
_DECIDE = Needs(Role.ADMIN, _namespace)

RULES: Rules = {
    f"/{SERVICE}/FindMissingBlobs": _WRITE,
    f"/{SERVICE}/WriteBlobs": Needs(Role.PUBLISHER, _header),
    f"/{SERVICE}/SignWrites": _WRITE,
    f"/{SERVICE}/CommitBlobs": _WRITE,
    f"/{SERVICE}/PutManifest": _WRITE,
    f"/{SERVICE}/GetManifest": _READ,
    f"/{SERVICE}/ReadFile": _READ,
    f"/{SERVICE}/SignReads": _READ,
    f"/{SERVICE}/Pin": _WRITE,
    f"/{SERVICE}/Unpin": _WRITE,
    f"/{SERVICE}/QuarantineManifest": _DECIDE,
    f"/{SERVICE}/ReleaseManifest": _DECIDE,
    f"/{SERVICE}/SetNamespacePolicy": _DECIDE,
    f"/{SERVICE}/GetNamespacePolicy": _WRITE,
}

BASES = Needs(Role.VIEWER, _bases)
"""What a caller needs beside the method's own rule for the manifests that it names as bases."""


def _everywhere(_: object) -> Iterable[str]:
    return (EVERYWHERE,)


def _used(message: upkeep_pb.GetUsageRequest) -> Iterable[str]:
    return (message.namespace or EVERYWHERE,)


def _hidden_usage(message: upkeep_pb.GetUsageRequest) -> ZooError:
    if not message.namespace:
        return PermissionDenied(
            "ROLE_MISSING",
            "to see the usage of every namespace, the role viewer in the cluster (namespace '*') is needed: name one",
            metadata={"namespace": EVERYWHERE, "role": "viewer"},
        )
    return NotFound(
        "NAMESPACE_NOT_FOUND",
        f"there is no namespace {message.namespace!a}, or none that you may see: check it, or ask for a grant",
        metadata={"namespace": message.namespace},
    )


_OF_THE_CLUSTER = Needs(Role.ADMIN, _everywhere)
_OF_HOLDERS = Needs(Role.PUBLISHER, _everywhere)

UPKEEP_RULES: Rules = {
    f"/{UPKEEP}/Sweep": _OF_THE_CLUSTER,
    f"/{UPKEEP}/SetSweeping": _OF_THE_CLUSTER,
    f"/{UPKEEP}/GetSweeping": _OF_HOLDERS,
    f"/{UPKEEP}/GetUsage": Needs(Role.VIEWER, _used, _hidden_usage),
    f"/{UPKEEP}/Check": _OF_THE_CLUSTER,
    f"/{UPKEEP}/RebuildIndex": _OF_THE_CLUSTER,
    f"/{UPKEEP}/ConfirmPins": _OF_HOLDERS,
}

FOR_OTHERS = _OF_THE_CLUSTER
"""What a caller needs to confirm the pins of another holder."""
