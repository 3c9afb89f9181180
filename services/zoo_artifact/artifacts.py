"""What the artifact service does, apart from moving bytes: which blobs are there, and which manifests are visible.

A manifest is visible in a namespace from the one transaction on that names it there, counts it in its blobs and pins
it. Before that transaction nothing of it can be seen, so whatever breaks off is repeated as it was.
"""

import asyncio
import hashlib
from collections.abc import AsyncGenerator, AsyncIterator, Iterable, Sequence
from dataclasses import dataclass
from datetime import timedelta

from modelzoo.errors import InvalidArgument, NotFound
from modelzoo.manifest import Manifest, check_known
from zoo_artifact.admission import admit
from zoo_artifact.adoption import Adoption
from zoo_artifact.direct import BlobToWrite, DirectTransfers, SignedWrite, WrittenBlob
from zoo_artifact.download import Downloads, Range
from zoo_artifact.index import Index, Pin, blobs_missing
from zoo_artifact.keys import Visible
from zoo_artifact.manifests import Manifests
from zoo_artifact.names import check_digest, namespace_key
from zoo_artifact.rules import manifest_not_found
from zoo_artifact.storage import Storage
from zoo_artifact.upload import Part, Uploads

__all__ = ["Artifacts", "ManifestName", "Put"]

# Long enough to record a version of it, however slow the rest is.
PUT_PIN = timedelta(hours=24)
PUT_HOLDER = "put"


@dataclass(frozen=True, slots=True)
class ManifestName:
    namespace: str
    digest: str


@dataclass(frozen=True, slots=True)
class Put:
    """What became of a manifest: its SHA-256, and the sum of its files' sizes."""

    digest: str
    size_bytes: int


class Artifacts:
    """Blobs, manifests and pins by namespace. Who may call what is settled before."""

    def __init__(self, storage: Storage, index: Index, adoption: Adoption | None = None) -> None:
        """With an `adoption`, a manifest that is not visible is looked for where the index is being rebuilt."""
        self._storage = storage
        self._index = index
        self._adoption = adoption
        self._manifests = Manifests(storage)
        self._uploads = Uploads(storage, index)
        self._direct = DirectTransfers(storage, index)
        self._downloads = Downloads(storage, index.mark_damaged)

    async def find_missing(self, namespace: str, digests: Iterable[str], bases: Sequence[ManifestName]) -> list[str]:
        """The digests to send, in order, each once. Raises DIGEST_INVALID, MANIFEST_NOT_FOUND for a base."""
        wanted = [check_digest(digest) for digest in dict.fromkeys(digests)]
        there = await self._index.find_blobs(namespace_key(namespace), wanted, await self._blobs_of(bases))
        return [digest for digest in wanted if digest not in there]

    def write_blobs(self, parts: AsyncIterator[Part]) -> AsyncGenerator[str]:
        """As `Uploads.write`."""
        return self._uploads.write(parts)

    async def sign_writes(self, namespace: str, wanted: Sequence[BlobToWrite]) -> list[SignedWrite]:
        """As `DirectTransfers.sign_writes`."""
        return await self._direct.sign_writes(namespace_key(namespace), wanted)

    async def commit_blobs(self, namespace: str, written: Sequence[WrittenBlob]) -> list[str]:
        """As `DirectTransfers.commit`."""
        return await self._direct.commit(namespace_key(namespace), written)

    async def put_manifest(self, namespace: str, data: bytes, bases: Sequence[ManifestName], subject: str) -> Put:
        """Make the manifest visible in the namespace, pinned for `subject`. Idempotent.

        Raises as `admission.admit`, BLOBS_MISSING, MANIFEST_NOT_FOUND for a base.
        """
        key = namespace_key(namespace)
        manifest = await asyncio.to_thread(Manifest.from_bytes, data)
        check_known(manifest)
        digest = await asyncio.to_thread(_sha256, data)
        readable = await self._blobs_of(bases)
        await self._check_blobs(key, manifest, readable)
        if not await self._index.knows_manifest(digest):
            await admit(manifest, self._storage)
        await self._index.announce(key, digest, manifest)
        await self._storage.put_manifest(key, digest, data)
        expire_time = await self._index.now() + PUT_PIN
        await self._index.publish(key, digest, manifest, readable, Pin(subject, PUT_HOLDER, expire_time))
        return Put(digest, manifest.size_bytes)

    async def get_manifest(self, name: ManifestName) -> bytes:
        """The manifest's bytes. Raises MANIFEST_NOT_FOUND."""
        await self._require(name)
        return await self._storage.get_manifest(name.digest)

    async def open_file(self, name: ManifestName, path: str, offset: int, length: int | None) -> AsyncGenerator[bytes]:
        """A range of a file, as of `Downloads.read`. Raises MANIFEST_NOT_FOUND, FILE_NOT_FOUND, RANGE_INVALID."""
        await self._require(name)
        manifest = await self._manifests.get(name.digest)
        file = manifest.file(path)
        if file is None:
            raise NotFound(
                "FILE_NOT_FOUND",
                f"the manifest sha256:{name.digest} has no file {path!a}: see its list of files",
                metadata={"path": path},
            )
        return self._downloads.read(file, Range.of(file, offset, length))

    async def sign_reads(self, name: ManifestName, digests: Sequence[str]) -> list[str]:
        """As `DirectTransfers.sign_reads`. Raises MANIFEST_NOT_FOUND."""
        await self._require(name)
        return await self._direct.sign_reads(await self._manifests.get(name.digest), digests)

    async def pin(self, name: ManifestName, pin: Pin) -> None:
        """Keep the manifest from being swept. Raises MANIFEST_NOT_FOUND."""
        key = namespace_key(name.namespace)
        if not await self._index.pin(key, name.digest, pin):
            await self._require(name)
            if not await self._index.pin(key, name.digest, pin):
                raise manifest_not_found(name.namespace, name.digest)

    async def unpin(self, name: ManifestName, subject: str, holder: str) -> None:
        """End the pin of that subject and holder, if there is one."""
        await self._index.unpin(namespace_key(name.namespace), name.digest, subject, holder)

    async def _require(self, name: ManifestName) -> None:
        key = namespace_key(name.namespace)
        if await self._index.has_manifest(key, name.digest):
            return
        if self._adoption is None or not await self._adoption.adopt_unknown(Visible(key, name.digest)):
            raise manifest_not_found(name.namespace, name.digest)

    async def _blobs_of(self, bases: Sequence[ManifestName]) -> set[str]:
        found: set[str] = set()
        for base in bases:
            await self._require(base)
            found.update((await self._manifests.get(base.digest)).unique_blobs())
        return found

    async def _check_blobs(self, namespace: str, manifest: Manifest, readable: set[str]) -> None:
        """Before any blob is read: publishing checks again whether they are there."""
        named = manifest.unique_blobs()
        there = await self._index.find_blobs(namespace, list(named), readable)
        if len(there) < len(named):
            raise blobs_missing(len(named) - len(there))
        for digest, size_bytes in there.items():
            if size_bytes != named[digest]:
                raise InvalidArgument(
                    "MANIFEST_INVALID",
                    f"the manifest gives blob {digest} {named[digest]} bytes but it has {size_bytes}: make it again",
                )


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
