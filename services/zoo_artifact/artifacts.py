"""What the artifact service does, apart from moving bytes: which blobs are there, and which manifests are visible.

A manifest is visible in a namespace from the one transaction on that names it there, counts it in its blobs and pins
it. Before that transaction nothing of it can be seen, so whatever breaks off is repeated as it was.
"""

import asyncio
import hashlib
from collections.abc import AsyncGenerator, AsyncIterator, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta

from modelzoo.errors import DataLoss, InvalidArgument, NotFound
from modelzoo.manifest import Manifest, check_known
from zoo_artifact.admission import admit
from zoo_artifact.adoption import Adoption
from zoo_artifact.direct import BlobToWrite, DirectTransfers, SignedWrite, WrittenBlob
from zoo_artifact.download import Downloads, Range
from zoo_artifact.index import Index, Pin, blobs_missing
from zoo_artifact.keys import Visible
from zoo_artifact.manifests import Manifests
from zoo_artifact.names import check_digest, namespace_key
from zoo_artifact.policies import OPAQUE, Policies, Policy
from zoo_artifact.quarantines import Quarantines
from zoo_artifact.rules import manifest_not_found
from zoo_artifact.storage import Quarantine, Storage
from zoo_artifact.upload import Part, Uploads
from zoo_server.principal import Principal

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
        self._quarantines = Quarantines(index.database)
        self._policies = Policies(index.database)
        self._manifests = Manifests(storage)
        self._uploads = Uploads(storage, index)
        self._direct = DirectTransfers(storage, index)
        self._downloads = Downloads(storage, index.mark_damaged)

    async def find_missing(
        self, namespace: str, digests: Iterable[str], bases: Sequence[ManifestName], reader: Principal
    ) -> list[str]:
        """The digests to send, in order, each once. Raises DIGEST_INVALID; for a base what `check_readable` raises."""
        wanted = [check_digest(digest) for digest in dict.fromkeys(digests)]
        there = await self._index.find_blobs(namespace_key(namespace), wanted, await self._blobs_of(bases, reader))
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

    async def put_manifest(self, namespace: str, data: bytes, bases: Sequence[ManifestName], putter: Principal) -> Put:
        """Make the manifest visible in the namespace, pinned for `putter`. Idempotent.

        Raises as `admission.admit`, BLOBS_MISSING, MANIFEST_QUARANTINED; for a base what `check_readable` raises.
        """
        key = namespace_key(namespace)
        manifest = await asyncio.to_thread(Manifest.from_bytes, data)
        check_known(manifest)
        digest = await asyncio.to_thread(_sha256, data)
        await self._check_not_quarantined(Visible(key, digest))
        readable = await self._blobs_of(bases, putter)
        await self._check_blobs(key, manifest, readable)
        # Known means admitted once, by some namespace; what may be in opaque ones, each decides for itself.
        if manifest.format == OPAQUE or not await self._index.knows_manifest(digest):
            policy = await self._policies.get(key) if manifest.format == OPAQUE else Policy()
            await self._admit(manifest, policy)
        await self._index.announce(key, digest, manifest)
        await self._storage.put_manifest(key, digest, data)
        expire_time = await self._index.now() + PUT_PIN
        await self._index.publish(key, digest, manifest, readable, Pin(putter.subject, PUT_HOLDER, expire_time))
        return Put(digest, manifest.size_bytes)

    async def get_manifest(self, name: ManifestName, reader: Principal) -> bytes:
        """The manifest's bytes. Raises as `check_readable`."""
        await self.check_readable(name, reader)
        return await self._storage.get_manifest(name.digest)

    async def open_file(
        self, name: ManifestName, path: str, offset: int, length: int | None, reader: Principal
    ) -> AsyncGenerator[bytes]:
        """A range of a file, as of `Downloads.read`. Raises as `check_readable`, FILE_NOT_FOUND, RANGE_INVALID."""
        await self.check_readable(name, reader)
        manifest = await self._manifests.get(name.digest)
        file = manifest.file(path)
        if file is None:
            raise NotFound(
                "FILE_NOT_FOUND",
                f"the manifest sha256:{name.digest} has no file {path!a}: see its list of files",
                metadata={"path": path},
            )
        return self._downloads.read(file, Range.of(file, offset, length))

    async def sign_reads(self, name: ManifestName, digests: Sequence[str], reader: Principal) -> list[str]:
        """As `DirectTransfers.sign_reads`. Raises as `check_readable`."""
        await self.check_readable(name, reader)
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

    async def check_readable(self, name: ManifestName, reader: Principal) -> None:
        """Return if `reader`, a viewer of the namespace, may have the manifest's bytes, in whatever way they are asked
        for. Raises MANIFEST_NOT_FOUND, MANIFEST_QUARANTINED.
        """
        key = namespace_key(name.namespace)
        if not await self._quarantines.is_readable(key, name.digest, reader):
            await self._require(name)
            await self._quarantines.is_readable(key, name.digest, reader)

    async def quarantine(self, name: ManifestName, reason: str, subject: str) -> None:
        """Keep the manifest's bytes from everybody but the namespace's admins. Raises MANIFEST_NOT_FOUND."""
        await self._require(name)
        visible, quarantine = Visible(namespace_key(name.namespace), name.digest), Quarantine(reason, subject)
        await self._storage.put_quarantine(visible, quarantine)
        await self._quarantines.put(visible, quarantine)

    async def release(self, name: ManifestName) -> None:
        """End the manifest's quarantine, if there is one, of one that was swept too."""
        visible = Visible(namespace_key(name.namespace), name.digest)
        await self._storage.end_quarantine(visible)
        await self._quarantines.end(visible)

    async def policy(self, namespace: str) -> Policy:
        """What the namespace takes."""
        return await self._policies.get(namespace_key(namespace))

    async def set_policy(self, namespace: str, policy: Policy) -> None:
        """Say what the namespace takes from now on."""
        await self._policies.set(namespace_key(namespace), policy)

    async def _check_not_quarantined(self, visible: Visible) -> None:
        """Raise MANIFEST_QUARANTINED where index or bucket say so. An index that was rebuilt, or restored from an older
        one, need not know of a manifest that was swept; the bucket does.
        """
        await self._quarantines.check_usable(visible.namespace, visible.digest)
        if await self._index.has_manifest(visible.namespace, visible.digest):
            return
        if (quarantine := await self._storage.get_quarantine(visible)) is not None:
            await self._quarantines.put(visible, quarantine)
            await self._quarantines.check_usable(visible.namespace, visible.digest)

    async def _admit(self, manifest: Manifest, policy: Policy) -> None:
        try:
            await admit(manifest, self._storage, policy)
        except DataLoss as error:
            # Whoever puts the manifest has the bytes: told so, it sends them.
            await self._index.mark_damaged(error.metadata["digest"])
            raise blobs_missing(1) from error

    async def _require(self, name: ManifestName) -> None:
        key = namespace_key(name.namespace)
        if await self._index.has_manifest(key, name.digest):
            return
        if self._adoption is None or not await self._adoption.adopt_unknown(Visible(key, name.digest)):
            raise manifest_not_found(name.namespace, name.digest)

    async def _blobs_of(self, bases: Sequence[ManifestName], reader: Principal) -> set[str]:
        found: set[str] = set()
        for base in bases:
            await self.check_readable(base, reader)
            # One that is lost spares nobody a blob, and must not keep its own files from being pushed again.
            with suppress(DataLoss):
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
