"""Blobs and manifests in the object store, verified on the way in and on the way out.

These objects, whose names `keys` gives, are the truth; what SQL knows can be made from them again.
"""

import asyncio
import hashlib
import json
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass

import blake3

from modelzoo.errors import DataLoss, InvalidArgument, NotFound, OutOfRange
from modelzoo.manifest import Blob
from zoo_artifact.keys import Visible, blob_key, manifest_key, mark_key, quarantine_key
from zoo_artifact.places import Places
from zoo_store.blobs import BlobStore, SignedPut

__all__ = ["Quarantine", "Storage", "check_bytes"]

# Hashing this much takes less time than handing it to a thread.
INLINE_BYTES = 128 * 1024
# Large blobs on their way to the store at once, for all streams, and as many from it. More do not make a store faster,
# only each of them slower, until they run into time limits.
LARGE_BYTES = 1024 * 1024
LARGE_AT_ONCE = 4
# Those that take longer do not count among them: a store that is stuck over one blob serves the others meanwhile.
PATIENCE_S = 3.0
# What is wrong may have been damaged on its way: it is read once more before that is said.
READINGS = 2


@dataclass(frozen=True, slots=True)
class Quarantine:
    """Why a manifest's bytes go to admins alone, and who said so."""

    reason: str
    subject: str


class Storage:
    """What is stored under a digest has that digest.

    Raises Unavailable STORAGE_UNAVAILABLE where the store does not answer.
    """

    def __init__(self, store: BlobStore, patience_s: float = PATIENCE_S) -> None:
        self._store = store
        self._sending = Places(LARGE_AT_ONCE, patience_s)
        self._fetching = Places(LARGE_AT_ONCE, patience_s)

    async def put_blob(self, blob: Blob, data: bytes) -> None:
        """Store `data`, which must have passed `check_bytes`."""
        async with self._sending.place() if blob.size >= LARGE_BYTES else nullcontext():
            await self._store.put(blob_key(blob.digest), data)

    async def get_blob(self, blob: Blob) -> bytes:
        """The blob's bytes, or DataLoss BLOB_CORRUPT where they are damaged or gone."""
        try:
            for _ in range(READINGS):
                if (data := await self._get_sound(blob)) is not None:
                    return data
        except NotFound as error:
            raise _corrupt_blob(blob, "is gone from the store") from error
        raise _corrupt_blob(blob, "is damaged in the store")

    async def _get_sound(self, blob: Blob) -> bytes | None:
        async with self._fetching.place() if blob.size >= LARGE_BYTES else nullcontext():
            data = await self._store.get(blob_key(blob.digest))
        if len(data) != blob.size or await _blake3(data) != blob.digest:
            return None
        return data

    async def check_blob(self, blob: Blob, also: Callable[[memoryview], object] | None = None) -> None:
        """DataLoss BLOB_CORRUPT where the blob is damaged or gone, found out with little memory.

        `also` is given the bytes, in order and in some thread, before it is known whether they are right. It sees them
        once: with it nothing is read a second time.
        """
        try:
            for _ in range(1 if also else READINGS):
                if await self._is_sound(blob, also):
                    return
        except NotFound as error:
            raise _corrupt_blob(blob, "is gone from the store") from error
        raise _corrupt_blob(blob, "is damaged in the store")

    async def _is_sound(self, blob: Blob, also: Callable[[memoryview], object] | None) -> bool:
        hasher = blake3.blake3()

        def consume(piece: memoryview) -> None:
            hasher.update(piece)
            if also is not None:
                also(piece)

        async with self._fetching.place() if blob.size >= LARGE_BYTES else nullcontext():
            size_bytes = await self._store.read(blob_key(blob.digest), consume)
        return size_bytes == blob.size and hasher.hexdigest() == blob.digest

    async def get_part(self, blob: Blob, offset: int, length: int) -> bytes:
        """A range of the blob, not verified; DataLoss BLOB_CORRUPT where it is gone or too short."""
        try:
            return await self._store.get(blob_key(blob.digest), offset, length)
        except (NotFound, OutOfRange) as error:
            raise _corrupt_blob(blob, "is gone from the store, or too short") from error

    async def has_blob(self, blob: Blob) -> bool:
        """Whether there is something of its size under its name."""
        return await self._store.size(blob_key(blob.digest)) == blob.size

    def sign_read(self, digest: str, expires_s: int) -> str | None:
        """As `BlobStore.sign_get`. What is read there is not verified."""
        return self._store.sign_get(blob_key(digest), expires_s)

    def sign_write(self, blob: Blob, sha256: str, expires_s: int) -> SignedPut | None:
        """As `BlobStore.sign_put`. What is written there must pass `check_blob` before anybody relies on it."""
        return self._store.sign_put(blob_key(blob.digest), blob.size, sha256, expires_s)

    async def put_manifest(self, namespace: str, digest: str, data: bytes) -> None:
        """Store a manifest and that it is visible in the namespace; `digest` is its SHA-256."""
        await self._store.put(manifest_key(digest), data)
        await self._store.put(mark_key(Visible(namespace, digest)), b"")

    async def get_manifest(self, digest: str) -> bytes:
        """The manifest's bytes, or DataLoss BLOB_CORRUPT where they are damaged or gone."""
        try:
            for _ in range(READINGS):
                data = await self._store.get(manifest_key(digest))
                if await asyncio.to_thread(_sha256, data) == digest:
                    return data
        except NotFound as error:
            raise _corrupt(f"manifest {digest}", "is gone from the store") from error
        raise _corrupt(f"manifest {digest}", "is damaged in the store")

    async def put_quarantine(self, visible: Visible, quarantine: Quarantine) -> None:
        """Store that the manifest is quarantined in the namespace, so that a rebuilt index knows it."""
        data = json.dumps({"reason": quarantine.reason, "subject": quarantine.subject}).encode()
        await self._store.put(quarantine_key(visible), data)

    async def get_quarantine(self, visible: Visible) -> Quarantine | None:
        """The manifest's quarantine in the namespace, if there is one; a record that cannot be read is one, too."""
        try:
            said = json.loads(await self._store.get(quarantine_key(visible)))
            return Quarantine(str(said["reason"]), str(said["subject"]))
        except NotFound:
            return None
        except (ValueError, TypeError, KeyError):
            return Quarantine("the record of its quarantine cannot be read", "")

    async def end_quarantine(self, visible: Visible) -> None:
        """Store that there is none."""
        await self._store.delete(quarantine_key(visible))


async def check_bytes(blob: Blob, data: bytes) -> None:
    """Raise BLOB_DIGEST_MISMATCH unless `data` is that blob."""
    found = await _blake3(data)
    if found != blob.digest:
        raise InvalidArgument(
            "BLOB_DIGEST_MISMATCH",
            f"the bytes sent as blob {blob.digest} have the BLAKE3-256 {found}: send the bytes that the digest is of",
            metadata={"digest": blob.digest},
        )


async def _blake3(data: bytes) -> str:
    if len(data) <= INLINE_BYTES:
        return _blake3_now(data)
    return await asyncio.to_thread(_blake3_now, data)


def _blake3_now(data: bytes) -> str:
    return blake3.blake3(data).hexdigest()


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _corrupt_blob(blob: Blob, fault: str) -> DataLoss:
    return _corrupt(f"blob {blob.digest}", fault, {"digest": blob.digest})


def _corrupt(what: str, fault: str, metadata: dict[str, str] | None = None) -> DataLoss:
    return DataLoss("BLOB_CORRUPT", f"{what} {fault}: push the files again to repair it", metadata=metadata)
