"""Who may call what of the artifact service."""

from collections.abc import Iterable

from modelzoo.errors import NotFound
from zoo.artifact.v1 import artifact_service_pb2 as pb
from zoo_server.authorization import Needs, Rules
from zoo_server.principal import Role

__all__ = ["BASES", "RULES", "SERVICE", "manifest_not_found"]

SERVICE = "zoo.artifact.v1.ArtifactService"

Reading = pb.GetManifestRequest | pb.ReadFileRequest | pb.SignReadsRequest
Writing = (
    pb.FindMissingBlobsRequest
    | pb.SignWritesRequest
    | pb.CommitBlobsRequest
    | pb.PutManifestRequest
    | pb.PinRequest
    | pb.UnpinRequest
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


def _namespace(message: Reading | Writing) -> Iterable[str]:
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
}

BASES = Needs(Role.VIEWER, _bases)
"""What a caller needs beside the method's own rule for the manifests that it names as bases."""
