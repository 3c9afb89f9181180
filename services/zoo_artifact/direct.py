"""Bytes that go straight between callers and the object store: URLs for them, and what makes a PUT count.

A signed PUT takes only bytes with the SHA-256 that was signed, only where there is nothing yet (`BlobStore.sign_put`).
That the blob's name, its BLAKE3, is theirs too is looked at once, in `commit`; before that nothing relies on them. A
wrong blob under a name is overwritten by whoever sends the right one by stream, and refused by every reader.
"""

import asyncio
import secrets
from collections.abc import Sequence
from dataclasses import dataclass

from blake3 import blake3

from modelzoo.errors import DataLoss, InvalidArgument, NotFound
from modelzoo.manifest import BLOB_BYTES_MAX, Blob, Manifest
from zoo_artifact.index import Index
from zoo_artifact.names import check_digest
from zoo_artifact.storage import Storage
from zoo_store.blobs import SignedPut

__all__ = ["LIFETIME_S", "BlobToWrite", "DirectTransfers", "SignedWrite", "WrittenBlob", "named_blob"]

LIFETIME_S = 600
# Blobs read back at once, of all callers.
COMMITS_AT_ONCE = 4


@dataclass(frozen=True, slots=True)
class BlobToWrite:
    blob: Blob
    sha256: str


@dataclass(frozen=True, slots=True)
class SignedWrite:
    digest: str
    put: SignedPut
    proof_key: bytes


@dataclass(frozen=True, slots=True)
class WrittenBlob:
    blob: Blob
    proof: bytes


class DirectTransfers:
    """Namespaces come as keys. After a restart proofs under older keys no longer count, and are made again."""

    def __init__(self, storage: Storage, index: Index) -> None:
        self._storage = storage
        self._index = index
        self._secret = secrets.token_bytes(32)
        self._committing = asyncio.Semaphore(COMMITS_AT_ONCE)

    async def sign_reads(self, manifest: Manifest, digests: Sequence[str]) -> list[str]:
        """URLs in order, or none at all; BLOB_NOT_FOUND for a blob that the manifest has not."""
        named = manifest.unique_blobs()
        for digest in digests:
            if digest not in named:
                raise NotFound(
                    "BLOB_NOT_FOUND",
                    f"the manifest has no blob {digest[:80]!a}: see its list of files",
                    metadata={"digest": digest[:80]},
                )
        return await asyncio.to_thread(self._sign_reads, digests)

    async def sign_writes(self, namespace: str, wanted: Sequence[BlobToWrite]) -> list[SignedWrite]:
        """URLs for those that may be PUT: not for what is stored, or is to be repaired or deleted."""
        known = await self._index.known_blobs([each.blob.digest for each in wanted])
        new = [each for each in wanted if each.blob.digest not in known]
        return await asyncio.to_thread(self._sign_writes, namespace, new)

    async def commit(self, namespace: str, written: Sequence[WrittenBlob]) -> list[str]:
        """Record, for the namespace, the blobs that are right and whose proofs are; the digests of the others."""
        # Not a TaskGroup: the first error shall travel as it is.
        tasks = [asyncio.create_task(self._commit(namespace, each)) for each in written]
        try:
            stored = await asyncio.gather(*tasks)
        finally:
            for task in tasks:
                task.cancel()
        return [each.blob.digest for each, is_stored in zip(written, stored, strict=True) if not is_stored]

    def _sign_reads(self, digests: Sequence[str]) -> list[str]:
        urls: list[str] = []
        for digest in digests:
            url = self._storage.sign_read(digest, LIFETIME_S)
            if url is None:
                return []
            urls.append(url)
        return urls

    def _sign_writes(self, namespace: str, wanted: Sequence[BlobToWrite]) -> list[SignedWrite]:
        signed: list[SignedWrite] = []
        for each in wanted:
            put = self._storage.sign_write(each.blob, each.sha256, LIFETIME_S)
            if put is None:
                return []
            signed.append(SignedWrite(each.blob.digest, put, self._proof_key(namespace, each.blob.digest)))
        return signed

    async def _commit(self, namespace: str, written: WrittenBlob) -> bool:
        blob = written.blob
        async with self._committing:
            keyed = blake3(key=self._proof_key(namespace, blob.digest))
            try:
                await self._storage.check_blob(blob, also=keyed.update)
            except DataLoss:  # nothing was PUT there, or something else
                return False
        if not secrets.compare_digest(keyed.digest(), written.proof):
            return False
        await self._index.record_blob(namespace, blob)
        if await self._storage.has_blob(blob):
            return True
        # Swept as an orphan between reading and recording: whoever sweeps from now on sees the row.
        await self._index.mark_damaged(blob.digest)
        return False

    def _proof_key(self, namespace: str, digest: str) -> bytes:
        # One for each namespace and blob, so that nobody can show another's proof.
        return blake3(f"{namespace}/{digest}".encode(), key=self._secret).digest()


def named_blob(digest: str, size_bytes: int) -> Blob:
    """The blob that a caller names; DIGEST_INVALID, BLOB_SIZE_INVALID."""
    check_digest(digest)
    if not 1 <= size_bytes <= BLOB_BYTES_MAX:
        raise InvalidArgument(
            "BLOB_SIZE_INVALID",
            f"blob {digest} is given {size_bytes} bytes; allowed are 1 to {BLOB_BYTES_MAX}: cut the file as its "
            "manifest says",
            metadata={"digest": digest},
        )
    return Blob(digest, size_bytes)
