"""Whether what is pushed fits into the namespace's quota, before its bytes are sent."""

import itertools
from collections.abc import Sequence

import grpc

from modelzoo.calls import translated
from modelzoo.cut import scan_file
from modelzoo.errors import NotFound, ResourceExhausted
from modelzoo.manifest import Manifest
from modelzoo.reference import Digest, Reference
from modelzoo.tree import Tree
from modelzoo.upload import Base
from zoo.artifact.v1 import artifact_service_pb2 as artifact_pb
from zoo.artifact.v1 import artifact_service_pb2_grpc as artifact_rpc
from zoo.catalog.v1 import catalog_service_pb2 as pb
from zoo.catalog.v1 import catalog_service_pb2_grpc as rpc

__all__ = ["check_room"]

ASKED_AT_ONCE = 10_000  # FindMissingBlobs takes twice as many


def check_room(channel: grpc.Channel, model: Reference, tree: Tree, format: str, bases: Sequence[Base]) -> None:
    """Raise QUOTA_EXCEEDED where the catalog would refuse a version of these files, once they were sent.

    The catalog decides: others may push meanwhile, and what needs no bytes to be sent is left to it. Raises
    NAMESPACE_NOT_FOUND too.
    """
    with translated():
        found = rpc.CatalogServiceStub(channel).GetNamespace(pb.GetNamespaceRequest(name=model.namespace))
    quota, used = found.namespace.quota_bytes, found.used_bytes
    if not quota or used + tree.size_bytes <= quota:
        return
    # It may be there already, and count already. Who is short of room hashes twice.
    manifest = Manifest.of(format, [scan_file(tree.source(entry.path), entry.path) for entry in tree.files])
    if _is_published(channel, model, manifest) or not _lacks_blobs(channel, model, manifest, bases):
        return
    raise ResourceExhausted(
        "QUOTA_EXCEEDED",
        f"The namespace '{found.namespace.name}' has {used:,} of the {quota:,} bytes of its quota, and this needs "
        f"{tree.size_bytes:,} more. Nothing was sent: delete versions, or ask an admin of the cluster for a higher "
        "quota.",
        metadata={"used_bytes": str(used), "size_bytes": str(tree.size_bytes), "quota_bytes": str(quota)},
    )


def _is_published(channel: grpc.Channel, model: Reference, manifest: Manifest) -> bool:
    """As a version of the model; of another model of the namespace, all its blobs are there."""
    reference = Reference(model.namespace, model.name, Digest(manifest.digest()))
    try:
        with translated():
            rpc.CatalogServiceStub(channel).GetVersion(pb.GetVersionRequest(reference=str(reference)))
    except NotFound:
        return False
    return True


def _lacks_blobs(channel: grpc.Channel, model: Reference, manifest: Manifest, bases: Sequence[Base]) -> bool:
    stub = artifact_rpc.ArtifactServiceStub(channel)
    names = [artifact_pb.ManifestName(namespace=base.namespace, manifest_digest=base.manifest_digest) for base in bases]
    digests = iter(manifest.unique_blobs())
    while asked := list(itertools.islice(digests, ASKED_AT_ONCE)):
        request = artifact_pb.FindMissingBlobsRequest(namespace=model.namespace, digests=asked, bases=names)
        with translated():
            if stub.FindMissingBlobs(request).missing_digests:
                return True
    return False
