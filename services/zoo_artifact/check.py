"""Whether the index and the bucket agree, in both directions, and whether the bytes are what their names say.

    what the index already knows to be damaged -> blobs: rows against objects, objects against rows, bytes
    -> quarantines: objects against rows, rows against objects -> manifests: bytes, references, marks
    -> reference counts

Memory holds the names of one part of the blobs at a time, and four blobs. Others write meanwhile, so whatever seems
wrong is looked at again, row after object, before it is said.
"""

import asyncio
import random
import time
from collections.abc import AsyncGenerator
from dataclasses import dataclass, replace
from enum import Enum

from modelzoo.errors import DataLoss, InvalidArgument
from modelzoo.manifest import BLOB_BYTES_MAX, Blob, Manifest
from zoo_artifact.adoption import Adoption
from zoo_artifact.bucket import Bucket
from zoo_artifact.check_index import CheckIndex
from zoo_artifact.index import BeingDeleted, Index
from zoo_artifact.keys import (
    BLOBS,
    MANIFESTS,
    MARKS,
    QUARANTINES,
    Visible,
    blob_key,
    blob_of,
    manifest_key,
    manifest_of,
    mark_key,
    mark_of,
    quarantine_key,
    quarantine_of,
)
from zoo_artifact.quarantines import Quarantines
from zoo_artifact.storage import Storage
from zoo_artifact.sweep_index import SweepIndex

__all__ = ["Checked", "Checker", "Finding", "Kind", "Scope"]

READING_AT_ONCE = 4
# An index of more blobs is compared in 256 parts.
ONE_PART = 50_000


class Kind(Enum):
    """By the names of zoo.artifact.v1.FindingKind."""

    BLOB_MISSING = "BLOB_MISSING"
    BLOB_CORRUPT = "BLOB_CORRUPT"
    BLOB_LACKING = "BLOB_LACKING"
    OBJECT_UNKNOWN = "OBJECT_UNKNOWN"
    MANIFEST_MISSING = "MANIFEST_MISSING"
    MANIFEST_CORRUPT = "MANIFEST_CORRUPT"
    MARK_MISSING = "MARK_MISSING"
    REFERENCES_WRONG = "REFERENCES_WRONG"
    QUARANTINE_UNKNOWN = "QUARANTINE_UNKNOWN"
    QUARANTINE_MISSING = "QUARANTINE_MISSING"


@dataclass(frozen=True, slots=True)
class Finding:
    kind: Kind
    resource: str
    detail: str
    repaired: bool = False


@dataclass(frozen=True, slots=True)
class Scope:
    """Of which share of the blobs the bytes are read, and how fast at most (None: as fast as it goes)."""

    sample: float
    repair: bool = False
    bytes_per_s: float | None = None


@dataclass(slots=True)
class Checked:
    """How far a check is; `done` at its end."""

    total: int = 0
    rows: int = 0
    read_bytes: int = 0
    findings: int = 0
    repaired: int = 0
    duration_s: float = 0.0
    done: bool = False


class Checker:
    def __init__(
        self,
        storage: Storage,
        bucket: Bucket,
        index: Index,
        check_index: CheckIndex,
        sweep_index: SweepIndex,
        quarantines: Quarantines,
        adoption: Adoption,
    ) -> None:
        self._storage = storage
        self._bucket = bucket
        self._index = index
        self._check_index = check_index
        self._sweep_index = sweep_index
        self._quarantines = quarantines
        self._adoption = adoption

    async def check(self, scope: Scope) -> AsyncGenerator[Finding | Checked]:
        """Yields what does not agree, how far it is now and then, and at last a `Checked` that is done.

        Raises STORAGE_UNAVAILABLE where the bucket does not answer: nothing is taken for missing because of that.
        """
        started = time.monotonic()
        checked = Checked(total=await self._check_index.size())
        parts = [""] if checked.total < ONE_PART else [f"{number:02x}" for number in range(256)]
        async for event in self._events(parts, scope, checked):
            if isinstance(event, Finding):
                checked.findings += 1
                checked.repaired += event.repaired
                yield event
            else:
                yield replace(checked)
        checked.duration_s, checked.done = time.monotonic() - started, True
        yield checked

    async def _events(self, parts: list[str], scope: Scope, checked: Checked) -> AsyncGenerator[Finding | None]:
        async for finding in self._known_damage(scope):
            yield finding
        for part in parts:
            async for finding in self._blobs(part, scope, checked):
                yield finding
            yield None
        async for finding in self._unknown_quarantines(scope):
            yield finding
        async for finding in self._missing_quarantines(scope, checked):
            yield finding
        yield None
        async for finding in self._manifests(scope, checked):
            yield finding
        yield None
        async for finding in self._unknown_manifests(scope):
            yield finding
        async for finding in self._counts(scope):
            yield finding

    # Blobs

    async def _known_damage(self, scope: Scope) -> AsyncGenerator[Finding]:
        if scope.repair:
            after = ""
            while damaged := await self._check_index.damaged_blobs(after):
                after = damaged[-1].digest
                for blob in damaged:
                    if await self._is_sound(blob):
                        await self._check_index.mark_sound(blob.digest)
        after = ""
        while lacking := await self._check_index.lacking(after):
            after = lacking[-1].blob
            for each in lacking:
                detail = f"manifest sha256:{each.manifest} names it, and it is damaged or was never stored"
                yield Finding(Kind.BLOB_LACKING, blob_key(each.blob), detail)

    async def _blobs(self, part: str, scope: Scope, checked: Checked) -> AsyncGenerator[Finding]:
        rows = await self._check_index.stored_blobs(part)
        to_read: list[Blob] = []
        async for page in self._bucket.pages(f"{BLOBS}{part}/" if part else BLOBS):
            for info in page:
                digest = blob_of(info.key)
                expected = None if digest is None else rows.pop(digest, None)
                if digest is None or expected is None:
                    finding = await self._unknown_object(info.key, digest, info.size_bytes, scope)
                    if finding is not None:
                        yield finding
                    continue
                checked.rows += 1
                blob = Blob(digest, expected)
                if info.size_bytes != expected:
                    detail = f"it has {info.size_bytes} bytes instead of {expected}"
                    yield await self._damaged(Kind.BLOB_CORRUPT, blob, detail, scope)
                elif scope.sample >= 1 or random.random() < scope.sample:  # noqa: S311 - a sample, no secret
                    to_read.append(blob)
        for digest, size_bytes in rows.items():
            checked.rows += 1
            # The row once more, after the object: a sweep may have removed both meanwhile, or a push stored it.
            if await self._bucket.blob_size(digest) is None and await self._check_index.is_stored(digest):
                yield await self._damaged(Kind.BLOB_MISSING, Blob(digest, size_bytes), "there is no such object", scope)
        for at in range(0, len(to_read), READING_AT_ONCE):
            async for finding in self._read(to_read[at : at + READING_AT_ONCE], scope, checked):
                yield finding

    async def _read(self, some: list[Blob], scope: Scope, checked: Checked) -> AsyncGenerator[Finding]:
        started = time.monotonic()
        sound = await asyncio.gather(*(self._is_sound(blob) for blob in some))
        for blob, is_sound in zip(some, sound, strict=True):
            checked.read_bytes += blob.size
            if not is_sound and await self._check_index.is_stored(blob.digest):
                yield await self._damaged(Kind.BLOB_CORRUPT, blob, "its bytes do not have its digest", scope)
        if scope.bytes_per_s is not None:
            due_s = sum(blob.size for blob in some) / scope.bytes_per_s
            await asyncio.sleep(max(0.0, due_s - (time.monotonic() - started)))

    async def _is_sound(self, blob: Blob) -> bool:
        try:
            await self._storage.check_blob(blob)
        except DataLoss:
            return False
        return True

    async def _damaged(self, kind: Kind, blob: Blob, detail: str, scope: Scope) -> Finding:
        if scope.repair:
            await self._index.mark_damaged(blob.digest)
            detail += "; it is marked: push the same content again"
        return Finding(kind, blob_key(blob.digest), detail, repaired=scope.repair)

    async def _unknown_object(self, key: str, digest: str | None, size_bytes: int, scope: Scope) -> Finding | None:
        if digest is None:
            return Finding(Kind.OBJECT_UNKNOWN, key, "no blob has such a name")
        # Whoever stores one has a row first; of a blob that a sweep has just removed there is neither.
        if await self._check_index.has_blob(digest) or await self._bucket.blob_size(digest) is None:
            return None
        repaired = False
        if scope.repair and 0 < size_bytes <= BLOB_BYTES_MAX and await self._is_sound(Blob(digest, size_bytes)):
            await self._check_index.add_blobs([Blob(digest, size_bytes)])
            repaired = True
        return Finding(Kind.OBJECT_UNKNOWN, key, "the index has no row for it", repaired)

    # Quarantines: of index and bucket the stricter is right. Who releases one while it is mended may have to repeat it.

    async def _unknown_quarantines(self, scope: Scope) -> AsyncGenerator[Finding]:
        async for page in self._bucket.pages(QUARANTINES):
            for info in page:
                visible = quarantine_of(info.key)
                if visible is None:
                    yield Finding(Kind.OBJECT_UNKNOWN, info.key, "no quarantine has such a name")
                    continue
                if await self._quarantines.get(visible) is not None:
                    continue
                said = await self._storage.get_quarantine(visible)
                if said is None:  # released meanwhile
                    continue
                if scope.repair:
                    await self._quarantines.put(visible, said)
                detail = f"the index gives the manifest out in {visible.namespace}, where it is quarantined"
                yield Finding(Kind.QUARANTINE_UNKNOWN, info.key, detail, scope.repair)

    async def _missing_quarantines(self, scope: Scope, checked: Checked) -> AsyncGenerator[Finding]:
        after = Visible("", "")
        while page := await self._quarantines.list(after):
            after = page[-1]
            for visible in page:
                checked.rows += 1
                if await self._bucket.has_quarantine(visible):
                    continue
                said = await self._quarantines.get(visible)
                if said is None:  # released meanwhile
                    continue
                if scope.repair:
                    await self._storage.put_quarantine(visible, said)
                detail = f"the bucket does not say that the manifest is quarantined in {visible.namespace}"
                yield Finding(Kind.QUARANTINE_MISSING, quarantine_key(visible), detail, scope.repair)

    # Manifests

    async def _manifests(self, scope: Scope, checked: Checked) -> AsyncGenerator[Finding]:
        after = ""
        while digests := await self._check_index.manifests(after):
            after = digests[-1]
            for digest in digests:
                checked.rows += 1
                async for finding in self._manifest(digest, scope, checked):
                    yield finding

    async def _manifest(self, digest: str, scope: Scope, checked: Checked) -> AsyncGenerator[Finding]:
        visible = await self._check_index.namespaces_of(digest)
        try:
            data = await self._storage.get_manifest(digest)
            manifest = await asyncio.to_thread(Manifest.from_bytes, data)
        except (DataLoss, InvalidArgument) as error:
            is_there = await self._bucket.has_manifest(digest)
            if await self._check_index.has_manifest(digest):
                kind = Kind.MANIFEST_CORRUPT if is_there else Kind.MANIFEST_MISSING
                yield Finding(kind, manifest_key(digest), error.message)
        else:
            checked.read_bytes += len(data)
            if await self._check_index.references(digest) != manifest.unique_blobs().keys():
                if scope.repair:
                    await self._check_index.set_references(digest, manifest)
                if await self._check_index.has_manifest(digest):
                    detail = "the index has other references of it than it says itself"
                    yield Finding(Kind.REFERENCES_WRONG, manifest_key(digest), detail, scope.repair)
        for each in visible:
            checked.rows += 1
            if not await self._bucket.has_mark(each) and each in await self._check_index.namespaces_of(digest):
                if scope.repair:
                    await self._bucket.put_mark(each)
                detail = f"the bucket does not say that the manifest is visible in {each.namespace}"
                yield Finding(Kind.MARK_MISSING, mark_key(each), detail, scope.repair)

    async def _unknown_manifests(self, scope: Scope) -> AsyncGenerator[Finding]:
        async for page in self._bucket.pages(MARKS):
            for info in page:
                if mark_of(info.key) is None:
                    yield Finding(Kind.OBJECT_UNKNOWN, info.key, "no mark has such a name")
            for mark in await self._sweep_index.unknown_marks([mark for info in page if (mark := mark_of(info.key))]):
                if await self._bucket.has_mark(mark):
                    repaired = scope.repair and await self._adopt(mark)
                    yield Finding(Kind.OBJECT_UNKNOWN, mark_key(mark), "the index has no row for it", repaired)
        async for page in self._bucket.pages(MANIFESTS):
            for info in page:
                if manifest_of(info.key) is None:
                    yield Finding(Kind.OBJECT_UNKNOWN, info.key, "no manifest has such a name")
            found = [digest for info in page if (digest := manifest_of(info.key))]
            for digest in await self._sweep_index.unknown_manifests(found):
                if await self._bucket.has_manifest(digest):
                    yield Finding(Kind.OBJECT_UNKNOWN, manifest_key(digest), "the index has no row for it")

    async def _adopt(self, mark: Visible) -> bool:
        try:
            await self._adoption.adopt(mark)
        except (DataLoss, InvalidArgument, BeingDeleted):
            return False
        return True

    async def _counts(self, scope: Scope) -> AsyncGenerator[Finding]:
        after = ""
        while wrong := await self._check_index.wrong_counts(after):
            after = wrong[-1]
            for digest in wrong:
                detail = "its reference count is not the number of manifests that name it"
                yield Finding(Kind.REFERENCES_WRONG, blob_key(digest), detail, scope.repair)
        if scope.repair:
            await self._check_index.recount()
