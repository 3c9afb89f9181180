"""ArtifactService on the wire: messages in, domain calls, messages out."""

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from datetime import UTC
from typing import Any

import grpc
from google.protobuf.duration_pb2 import Duration

from modelzoo.errors import InvalidArgument
from zoo.artifact.v1 import artifact_service_pb2 as pb
from zoo.artifact.v1 import artifact_service_pb2_grpc as rpc
from zoo_artifact.artifacts import Artifacts, ManifestName
from zoo_artifact.direct import LIFETIME_S, BlobToWrite, SignedWrite, WrittenBlob, named_blob
from zoo_artifact.index import Pin
from zoo_artifact.policies import Policy
from zoo_artifact.rules import BASES
from zoo_artifact.upload import BlobStart, Part, UploadHeader
from zoo_server.authorization import enforce
from zoo_server.call import current_principal

__all__ = ["ArtifactServicer"]

LIFETIME = Duration(seconds=LIFETIME_S)

Context = grpc.aio.ServicerContext[Any, Any]


class ArtifactServicer(rpc.ArtifactServiceServicer):
    def __init__(self, artifacts: Artifacts) -> None:
        self._artifacts = artifacts

    async def FindMissingBlobs(
        self, request: pb.FindMissingBlobsRequest, context: Context
    ) -> pb.FindMissingBlobsResponse:
        principal = current_principal()
        enforce(BASES, principal, request)
        bases = [name_from_pb(base) for base in request.bases]
        missing = await self._artifacts.find_missing(request.namespace, request.digests, bases, principal)
        return pb.FindMissingBlobsResponse(missing_digests=missing)

    async def WriteBlobs(
        self, request_iterator: AsyncIterator[pb.WriteBlobsRequest], context: Context
    ) -> AsyncGenerator[pb.WriteBlobsResponse]:
        async with aclosing(self._artifacts.write_blobs(parts_from_pb(request_iterator))) as digests:
            async for digest in digests:
                yield pb.WriteBlobsResponse(digest=digest)

    async def SignWrites(self, request: pb.SignWritesRequest, context: Context) -> pb.SignWritesResponse:
        wanted = [BlobToWrite(named_blob(blob.digest, blob.size_bytes), blob.sha256) for blob in request.blobs]
        signed = await self._artifacts.sign_writes(request.namespace, wanted)
        return pb.SignWritesResponse(writes=map(signed_to_pb, signed), lifetime=LIFETIME)

    async def CommitBlobs(self, request: pb.CommitBlobsRequest, context: Context) -> pb.CommitBlobsResponse:
        written = [WrittenBlob(named_blob(blob.digest, blob.size_bytes), blob.proof) for blob in request.blobs]
        missing = await self._artifacts.commit_blobs(request.namespace, written)
        return pb.CommitBlobsResponse(missing_digests=missing)

    async def PutManifest(self, request: pb.PutManifestRequest, context: Context) -> pb.PutManifestResponse:
        principal = current_principal()
        enforce(BASES, principal, request)
        bases = [name_from_pb(base) for base in request.bases]
        put = await self._artifacts.put_manifest(request.namespace, request.manifest, bases, principal)
        return pb.PutManifestResponse(manifest_digest=put.digest, size_bytes=put.size_bytes)

    async def GetManifest(self, request: pb.GetManifestRequest, context: Context) -> pb.GetManifestResponse:
        manifest = await self._artifacts.get_manifest(name_from_pb(request), current_principal())
        return pb.GetManifestResponse(manifest=manifest)

    async def ReadFile(self, request: pb.ReadFileRequest, context: Context) -> AsyncGenerator[pb.ReadFileResponse]:
        length = request.length_bytes if request.HasField("length_bytes") else None
        name, reader = name_from_pb(request), current_principal()
        file = await self._artifacts.open_file(name, request.path, request.offset_bytes, length, reader)
        async with aclosing(file) as chunks:
            async for chunk in chunks:
                yield pb.ReadFileResponse(chunk=chunk)

    async def SignReads(self, request: pb.SignReadsRequest, context: Context) -> pb.SignReadsResponse:
        urls = await self._artifacts.sign_reads(name_from_pb(request), request.digests, current_principal())
        return pb.SignReadsResponse(urls=urls, lifetime=LIFETIME)

    async def Pin(self, request: pb.PinRequest, context: Context) -> pb.PinResponse:
        await self._artifacts.pin(name_from_pb(request), pin_from_pb(request, current_principal().subject))
        return pb.PinResponse()

    async def Unpin(self, request: pb.UnpinRequest, context: Context) -> pb.UnpinResponse:
        await self._artifacts.unpin(name_from_pb(request), current_principal().subject, request.holder)
        return pb.UnpinResponse()

    async def QuarantineManifest(
        self, request: pb.QuarantineManifestRequest, context: Context
    ) -> pb.QuarantineManifestResponse:
        await self._artifacts.quarantine(name_from_pb(request), request.reason, current_principal().subject)
        return pb.QuarantineManifestResponse()

    async def ReleaseManifest(self, request: pb.ReleaseManifestRequest, context: Context) -> pb.ReleaseManifestResponse:
        await self._artifacts.release(name_from_pb(request))
        return pb.ReleaseManifestResponse()

    async def SetNamespacePolicy(
        self, request: pb.SetNamespacePolicyRequest, context: Context
    ) -> pb.SetNamespacePolicyResponse:
        policy = Policy(request.policy.allow_opaque)
        await self._artifacts.set_policy(request.namespace, policy)
        return pb.SetNamespacePolicyResponse(policy=policy_to_pb(policy))

    async def GetNamespacePolicy(
        self, request: pb.GetNamespacePolicyRequest, context: Context
    ) -> pb.GetNamespacePolicyResponse:
        return pb.GetNamespacePolicyResponse(policy=policy_to_pb(await self._artifacts.policy(request.namespace)))


NamesManifest = (
    pb.ManifestName
    | pb.GetManifestRequest
    | pb.ReadFileRequest
    | pb.SignReadsRequest
    | pb.PinRequest
    | pb.UnpinRequest
    | pb.QuarantineManifestRequest
    | pb.ReleaseManifestRequest
)


def name_from_pb(message: NamesManifest) -> ManifestName:
    return ManifestName(message.namespace, message.manifest_digest)


def policy_to_pb(policy: Policy) -> pb.NamespacePolicy:
    return pb.NamespacePolicy(allow_opaque=policy.allow_opaque)


async def parts_from_pb(messages: AsyncIterator[pb.WriteBlobsRequest]) -> AsyncGenerator[Part]:
    async for message in messages:
        match message.WhichOneof("part"):
            case "header":
                yield UploadHeader(message.header.namespace)
            case "blob":
                yield BlobStart(message.blob.digest, message.blob.size_bytes)
            case "chunk":
                yield message.chunk
            case None:
                raise InvalidArgument("STREAM_ORDER_INVALID", "a message has no part: send a header, a blob or a chunk")


def signed_to_pb(signed: SignedWrite) -> pb.SignedWrite:
    put = signed.put
    return pb.SignedWrite(digest=signed.digest, url=put.url, headers=put.headers, proof_key=signed.proof_key)


def pin_from_pb(request: pb.PinRequest, subject: str) -> Pin:
    expires = request.expire_time if request.HasField("expire_time") else None
    try:
        expire_time = None if expires is None else expires.ToDatetime(UTC)
    except (ValueError, OverflowError) as error:
        raise InvalidArgument(
            "FIELD_INVALID", "expire_time is not a time of the years 1 to 9999", field="expire_time"
        ) from error
    return Pin(subject, request.holder, expire_time)
