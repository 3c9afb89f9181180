"""The artifact service in this process, over loopback, on any blob store; and callers with roles of their own."""

import asyncio
import hashlib
import json
import struct
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import grpc
from blake3 import blake3

from modelzoo.errors import ZooError, from_rpc_error
from modelzoo.manifest import BLOB_BYTES_MAX, Blob, File, Manifest
from support.tables import open_migrated
from zoo.artifact.v1 import artifact_service_pb2 as pb
from zoo.artifact.v1 import artifact_service_pb2_grpc as rpc
from zoo_artifact.artifacts import Artifacts
from zoo_artifact.index import Index
from zoo_artifact.main import VERSIONS, register
from zoo_artifact.rules import RULES, SERVICE, UPKEEP, UPKEEP_RULES
from zoo_artifact.storage import Storage
from zoo_artifact.upkeep import GRACE, Upkeep
from zoo_server.principal import METADATA_KEY, Principal, Role, Signer, TrustedKey, Verifier, create_signer
from zoo_server.server import build
from zoo_server.settings import ServerSettings
from zoo_store.blobs import BlobStore
from zoo_store.sql import Database

CHUNK_BYTES = 1024 * 1024
# Not the loop's own threads: the server, in the same process, needs those.
STREAMS = ThreadPoolExecutor(32, thread_name_prefix="stream")
PUBLISHER = {"team": Role.PUBLISHER}


class Caller:
    """One subject's calls. Each raises the ZooError that the server sent. A token may be one for each call."""

    def __init__(self, channel: grpc.aio.Channel, streams: grpc.Channel, token: str | Callable[[], str]) -> None:
        self.stub = rpc.ArtifactServiceStub(channel)
        self.streams = rpc.ArtifactServiceStub(streams)
        self._token = token

    @property
    def metadata(self) -> tuple[tuple[str, str]]:
        return ((METADATA_KEY, self._token if isinstance(self._token, str) else self._token()),)

    async def find_missing(
        self, digests: Iterable[str], namespace: str = "team", bases: Sequence[pb.ManifestName] = ()
    ) -> list[str]:
        request = pb.FindMissingBlobsRequest(namespace=namespace, digests=digests, bases=bases)
        response = await _sent(self.stub.FindMissingBlobs(request, metadata=self.metadata))
        return list(response.missing_digests)

    async def write(self, *blobs: bytes, namespace: str = "team") -> list[str]:
        return await self.stream(upload(blobs, namespace))

    async def stream(
        self, messages: Iterable[pb.WriteBlobsRequest], acknowledged: list[str] | None = None
    ) -> list[str]:
        """The digests acknowledged; they are added to `acknowledged` where the stream ends with an error."""
        acknowledged = [] if acknowledged is None else acknowledged
        await asyncio.get_running_loop().run_in_executor(STREAMS, self._stream, iter(messages), acknowledged)
        return acknowledged

    def _stream(self, messages: Iterator[pb.WriteBlobsRequest], acknowledged: list[str]) -> None:
        # Not by grpc.aio: where the server ends a call while messages are being sent, its client loses the status.
        try:
            for response in self.streams.WriteBlobs(messages, metadata=self.metadata):
                acknowledged.append(response.digest)
        except grpc.RpcError as error:
            raise from_rpc_error(error) from error

    async def sign_writes(self, *blobs: bytes, namespace: str = "team") -> list[pb.SignedWrite]:
        wanted = [
            pb.BlobToWrite(digest=digest_of(data), size_bytes=len(data), sha256=hashlib.sha256(data).hexdigest())
            for data in blobs
        ]
        return await self.sign(wanted, namespace)

    async def sign(self, wanted: Sequence[pb.BlobToWrite], namespace: str = "team") -> list[pb.SignedWrite]:
        request = pb.SignWritesRequest(namespace=namespace, blobs=wanted)
        return list((await _sent(self.stub.SignWrites(request, metadata=self.metadata))).writes)

    async def commit(self, proofs: Mapping[bytes, bytes], namespace: str = "team") -> list[str]:
        """Commit blobs, each with its proof; the missing digests."""
        written = [
            pb.WrittenBlob(digest=digest_of(data), size_bytes=len(data), proof=proof) for data, proof in proofs.items()
        ]
        request = pb.CommitBlobsRequest(namespace=namespace, blobs=written)
        return list((await _sent(self.stub.CommitBlobs(request, metadata=self.metadata))).missing_digests)

    async def sign_reads(self, digest: str, *blobs: bytes, namespace: str = "team") -> list[str]:
        request = pb.SignReadsRequest(namespace=namespace, manifest_digest=digest, digests=map(digest_of, blobs))
        return list((await _sent(self.stub.SignReads(request, metadata=self.metadata))).urls)

    async def put(
        self, manifest: Manifest | bytes, namespace: str = "team", bases: Sequence[pb.ManifestName] = ()
    ) -> str:
        data = manifest if isinstance(manifest, bytes) else manifest.to_bytes()
        request = pb.PutManifestRequest(namespace=namespace, manifest=data, bases=bases)
        return (await _sent(self.stub.PutManifest(request, metadata=self.metadata))).manifest_digest

    async def push(self, files: Mapping[str, bytes], namespace: str = "team") -> str:
        """Write what is missing, put the manifest; its digest."""
        wanted = {digest_of(data): data for content in files.values() for data in cut(content)}
        missing = await self.find_missing(wanted, namespace)
        await self.write(*(wanted[digest] for digest in missing), namespace=namespace)
        return await self.put(manifest_of(files), namespace)

    async def get(self, digest: str, namespace: str = "team") -> bytes:
        request = pb.GetManifestRequest(namespace=namespace, manifest_digest=digest)
        return (await _sent(self.stub.GetManifest(request, metadata=self.metadata))).manifest

    async def read(
        self, digest: str, path: str, offset: int = 0, length: int | None = None, namespace: str = "team"
    ) -> bytes:
        return b"".join([chunk async for chunk in self.chunks(digest, path, offset, length, namespace)])

    async def chunks(
        self, digest: str, path: str, offset: int = 0, length: int | None = None, namespace: str = "team"
    ) -> AsyncIterator[bytes]:
        request = pb.ReadFileRequest(
            namespace=namespace, manifest_digest=digest, path=path, offset_bytes=offset, length_bytes=length
        )
        call = self.stub.ReadFile(request, metadata=self.metadata)
        try:
            async for response in call:
                yield response.chunk
        except grpc.aio.AioRpcError as error:
            raise from_rpc_error(error) from error
        finally:
            call.cancel()

    async def quarantine(self, digest: str, reason: str = "bad", namespace: str = "team") -> None:
        request = pb.QuarantineManifestRequest(namespace=namespace, manifest_digest=digest, reason=reason)
        await _sent(self.stub.QuarantineManifest(request, metadata=self.metadata))

    async def release(self, digest: str, namespace: str = "team") -> None:
        request = pb.ReleaseManifestRequest(namespace=namespace, manifest_digest=digest)
        await _sent(self.stub.ReleaseManifest(request, metadata=self.metadata))

    async def allow_opaque(self, namespace: str = "team", allow: bool = True) -> None:
        policy = pb.NamespacePolicy(allow_opaque=allow)
        request = pb.SetNamespacePolicyRequest(namespace=namespace, policy=policy)
        await _sent(self.stub.SetNamespacePolicy(request, metadata=self.metadata))

    async def allows_opaque(self, namespace: str = "team") -> bool:
        request = pb.GetNamespacePolicyRequest(namespace=namespace)
        return (await _sent(self.stub.GetNamespacePolicy(request, metadata=self.metadata))).policy.allow_opaque

    async def pin(self, request: pb.PinRequest) -> None:
        await _sent(self.stub.Pin(request, metadata=self.metadata))

    async def unpin(self, digest: str, holder: str, namespace: str = "team") -> None:
        request = pb.UnpinRequest(namespace=namespace, manifest_digest=digest, holder=holder)
        await _sent(self.stub.Unpin(request, metadata=self.metadata))


@dataclass(frozen=True, slots=True)
class ArtifactServer:
    store: BlobStore
    database: Database
    channel: grpc.aio.Channel
    streams: grpc.Channel
    signer: Signer
    upkeep: Upkeep

    def caller(self, roles: Mapping[str, Role] = PUBLISHER, subject: str = "user:ann") -> Caller:
        return Caller(self.channel, self.streams, lambda: self.signer.sign(Principal(subject, roles)))


@asynccontextmanager
async def artifact_server(
    store: BlobStore, folder: Path, database_url: str = "", grace: timedelta | None = None
) -> AsyncIterator[ArtifactServer]:
    """The service on `store`, its index in `folder`, or where the URL says."""
    signer = create_signer("gateway")
    verifier = Verifier([TrustedKey(signer.kid, signer.public_key(), None)])
    async with open_migrated(database_url or f"sqlite:///{folder}/artifact.db", VERSIONS) as database:
        server = build(ServerSettings(trust=folder, drain_s=0.2), {**RULES, **UPKEEP_RULES}, verifier)
        storage = Storage(store)
        upkeep = Upkeep(store, storage, database, grace or GRACE)
        register(server.grpc, Artifacts(storage, Index(database), upkeep.adoption), upkeep)
        await server.start((SERVICE, UPKEEP))
        options = [("grpc.max_send_message_length", 68 << 20), ("grpc.max_receive_message_length", 68 << 20)]
        try:
            address = f"127.0.0.1:{server.port}"
            async with grpc.aio.insecure_channel(address, options=options) as channel:
                with grpc.insecure_channel(address) as streams:
                    yield ArtifactServer(store, database, channel, streams, signer, upkeep)
        finally:
            await server.drain()


async def refusal(call: object) -> tuple[str, str]:
    """Code and reason of the error that the call ends with."""
    try:
        result = await call  # type: ignore[misc]
    except ZooError as error:
        return error.code.name, error.reason
    raise AssertionError(f"it was not refused: {result!r}")


async def _sent(call: grpc.aio.UnaryUnaryCall) -> object:
    try:
        return await call
    except grpc.aio.AioRpcError as error:
        raise from_rpc_error(error) from error


def digest_of(data: bytes) -> str:
    return blake3(data).hexdigest()


def cut(content: bytes) -> list[bytes]:
    """As tensor/1 cuts what is not safetensors."""
    return [content[start : start + BLOB_BYTES_MAX] for start in range(0, len(content), BLOB_BYTES_MAX)]


def file_of(path: str, *blobs: bytes) -> File:
    content = b"".join(blobs)
    listed = tuple(Blob(digest_of(blob), len(blob)) for blob in blobs)
    return File(path, len(content), hashlib.sha256(content).hexdigest(), listed)


def manifest_of(files: Mapping[str, bytes], format: str = "opaque") -> Manifest:
    return Manifest.of(format, [file_of(path, *cut(content)) for path, content in files.items()])


def safetensors(header: object, data: bytes = b"") -> tuple[bytes, bytes]:
    """Length field and header, then the data: the two blobs of a file of small tensors."""
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text, data


def header(namespace: str = "team") -> pb.WriteBlobsRequest:
    return pb.WriteBlobsRequest(header=pb.WriteBlobsHeader(namespace=namespace))


def start(digest: str, size_bytes: int) -> pb.WriteBlobsRequest:
    return pb.WriteBlobsRequest(blob=pb.BlobStart(digest=digest, size_bytes=size_bytes))


def chunk(data: bytes) -> pb.WriteBlobsRequest:
    return pb.WriteBlobsRequest(chunk=data)


def upload(blobs: Iterable[bytes], namespace: str = "team") -> Iterable[pb.WriteBlobsRequest]:
    yield header(namespace)
    for data in blobs:
        yield start(digest_of(data), len(data))
        for begin in range(0, len(data), CHUNK_BYTES):
            yield chunk(data[begin : begin + CHUNK_BYTES])
