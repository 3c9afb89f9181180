"""Fetches a version's files into the node cache: only what is missing there, several ranges of a file at once.

Bytes come straight from the object store where the service signs URLs for that; memory then holds 1 MiB for each of
the STREAMS. What does not come so comes through the service, a blob at a time in each stream: 32 MiB each, at most.
A blob counts once its BLAKE3 is right, a file is published once its SHA-256 is. A range whose stream broke off goes on
behind the last whole blob, with growing pauses; every blob starts the count of attempts afresh. What an earlier, killed
pull left is used.
"""

import fnmatch
import hashlib
import threading
import time
from collections.abc import Generator, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import grpc

from modelzoo.attempts import Attempts
from modelzoo.cache import NodeCache, PartialFile
from modelzoo.calls import translated
from modelzoo.direct_read import DirectReads
from modelzoo.errors import DataLoss, Interrupted, NotFound, ZooError
from modelzoo.export import export
from modelzoo.manifest import Blob, Manifest
from modelzoo.progress import Progress, Silence
from modelzoo.records import PullResult, Version
from zoo.artifact.v1 import artifact_service_pb2 as pb
from zoo.artifact.v1 import artifact_service_pb2_grpc as rpc

__all__ = ["get_manifest", "hold", "hold_version", "pull", "pull_version"]

STREAMS = 4
RANGE_BYTES = 64 * 1024 * 1024

PlacedBlob = tuple[int, Blob]


def pull(
    channel: grpc.Channel,
    cache: NodeCache,
    namespace: str,
    manifest_digest: str,
    progress: Progress | None = None,
    only: Sequence[str] | None = None,
) -> Path:
    """The directory in the cache with the manifest's files, all verified; nobody may write to it.

    `only` are glob patterns of paths; FILE_NOT_FOUND if none matches. The directory stays until the cache needs the
    room; `hold` keeps it. Raises what GetManifest, ReadFile and the cache raise.
    """
    with hold(channel, cache, namespace, manifest_digest, progress, only) as path:
        return path


@contextmanager
def hold(
    channel: grpc.Channel,
    cache: NodeCache,
    namespace: str,
    manifest_digest: str,
    progress: Progress | None = None,
    only: Sequence[str] | None = None,
    name: str = "",
    manifest: Manifest | None = None,
) -> Generator[Path]:
    """The same directory, kept for the length of a block; `name` is what the cache's listing calls it.

    Who has the manifest already may give it.
    """
    manifest = _chosen(manifest or get_manifest(channel, namespace, manifest_digest), only)
    fetching = _Fetching(channel, namespace, manifest_digest, _Counted(progress))
    with fetching.snapshot(cache, manifest, name) as path:
        yield path


def pull_version(
    channel: grpc.Channel,
    cache: NodeCache,
    version: Version,
    *,
    directory: Path | None = None,
    only: Sequence[str] | None = None,
    force: bool = False,
    progress: Progress | None = None,
) -> PullResult:
    """Pull a version, and copy its files into `directory`, if one is given, as `export` does."""
    with hold_version(
        channel, cache, version, directory=directory, only=only, force=force, progress=progress
    ) as result:
        return result


@contextmanager
def hold_version(
    channel: grpc.Channel,
    cache: NodeCache,
    version: Version,
    *,
    directory: Path | None = None,
    only: Sequence[str] | None = None,
    force: bool = False,
    progress: Progress | None = None,
) -> Generator[PullResult]:
    """The same, its files kept in the cache for the length of a block."""
    started = time.monotonic()
    namespace = version.model.partition("/")[0]
    manifest = _chosen(get_manifest(channel, namespace, version.manifest_digest), only)
    counted = _Counted(progress)
    fetching = _Fetching(channel, namespace, version.manifest_digest, counted)
    with fetching.snapshot(cache, manifest, version.reference) as path:
        if directory is not None:
            export(manifest, path, directory, force=force)
        yield PullResult(
            reference=version.reference,
            digest=version.manifest_digest,
            path=directory or path,
            bytes_total=manifest.size_bytes,
            bytes_received=counted.bytes_received,
            seconds=time.monotonic() - started,
        )


def get_manifest(channel: grpc.Channel, namespace: str, manifest_digest: str) -> Manifest:
    """The manifest of that digest. DATA_LOSS if what comes has another; MANIFEST_NOT_FOUND."""
    request = pb.GetManifestRequest(namespace=namespace, manifest_digest=manifest_digest)
    with translated():
        data = rpc.ArtifactServiceStub(channel).GetManifest(request).manifest
    if hashlib.sha256(data).hexdigest() != manifest_digest:
        raise DataLoss("BLOB_CORRUPT", f"The manifest {manifest_digest} arrived with other content; pull again.")
    return Manifest.from_bytes(data)


def _chosen(manifest: Manifest, only: Sequence[str] | None) -> Manifest:
    if only is None:
        return manifest
    files = [file for file in manifest.files if any(fnmatch.fnmatchcase(file.path, pattern) for pattern in only)]
    if not files:
        raise NotFound("FILE_NOT_FOUND", f"No file of this version matches {', '.join(map(repr, only))}.")
    return Manifest.of(manifest.format, files)


class _Counted:
    """A Progress that remembers what it heard."""

    def __init__(self, progress: Progress | None) -> None:
        self._progress = progress or Silence()
        self._lock = threading.Lock()
        self._left = 0
        self.bytes_received = 0

    def start(self, total_bytes: int) -> None:
        self._left = total_bytes
        self._progress.start(total_bytes)

    def received(self, count_bytes: int) -> None:
        with self._lock:
            self.bytes_received += count_bytes
            self._left -= count_bytes
        self._progress.advance(count_bytes)

    def lost(self, count_bytes: int) -> None:
        """So many received bytes were of a blob that did not come whole."""
        with self._lock:
            self._left += count_bytes
        self._progress.advance(-count_bytes)

    def end(self) -> None:
        """Everything is there; what was not received was there before."""
        self._progress.skip(self._left)
        self._left = 0


class _Fetching:
    def __init__(self, channel: grpc.Channel, namespace: str, manifest_digest: str, progress: _Counted) -> None:
        self._stub = rpc.ArtifactServiceStub(channel)
        self._namespace = namespace
        self._manifest_digest = manifest_digest
        self._progress = progress
        self._lock = threading.Lock()
        self._calls: set[grpc.Call] = set()
        self._stopped = threading.Event()
        self._direct = DirectReads(
            self._stub, namespace, manifest_digest, progress.received, progress.lost, self._stopped
        )

    @contextmanager
    def snapshot(self, cache: NodeCache, manifest: Manifest, name: str) -> Generator[Path]:
        self._progress.start(manifest.size_bytes)
        with cache.snapshot(manifest, self._fetch, name) as path:
            self._progress.end()
            yield path

    def _fetch(self, part: PartialFile) -> None:
        """Every missing blob of the file, by several streams; the first failure ends them all."""
        ranges = list(_ranges(part.missing()))
        with ThreadPoolExecutor(max(1, min(STREAMS, len(ranges))), thread_name_prefix="zoo-pull") as executor:
            try:
                for done in [executor.submit(self._fetch_range, part, blobs) for blobs in ranges]:
                    done.result()
            except BaseException:
                self._stop()
                executor.shutdown(cancel_futures=True)
                raise

    def _stop(self) -> None:
        self._stopped.set()
        with self._lock:
            for call in self._calls:
                call.cancel()

    def _fetch_range(self, part: PartialFile, blobs: Sequence[PlacedBlob]) -> None:
        waiting = list(blobs[self._direct.fetch(part, blobs) :])
        attempts = Attempts(self._stopped)
        while waiting:
            try:
                for offset, blob, data in self._read(part.file.path, waiting):
                    part.put(offset, blob, memoryview(data))
                    waiting.pop(0)
                    attempts.progressed()
            except ZooError as error:
                attempts.wait_after(error)

    def _read(self, path: str, blobs: Sequence[PlacedBlob]) -> Iterator[tuple[int, Blob, bytearray]]:
        """The blobs, which are neighbours, in order. Interrupted if the stream ends before the last of them does."""
        request = pb.ReadFileRequest(
            namespace=self._namespace,
            manifest_digest=self._manifest_digest,
            path=path,
            offset_bytes=blobs[0][0],
            length_bytes=sum(blob.size for _, blob in blobs),
        )
        waiting = iter(list(blobs))
        offset, blob = next(waiting)
        data, filled = bytearray(blob.size), 0
        try:
            for chunk in self._chunks(request):
                self._progress.received(len(chunk))
                rest = memoryview(chunk)
                while rest:
                    taken = rest[: blob.size - filled]
                    data[filled : filled + len(taken)] = taken
                    filled += len(taken)
                    rest = rest[len(taken) :]
                    if filled < blob.size:
                        break
                    filled = 0
                    yield offset, blob, data
                    following = next(waiting, None)
                    if following is None:
                        return
                    offset, blob = following
                    data = bytearray(blob.size)
            raise Interrupted("STREAM_INTERRUPTED", f"{path!a} ended before all of it came; pull again.")
        finally:
            if filled:
                self._progress.lost(filled)

    def _chunks(self, request: pb.ReadFileRequest) -> Iterator[bytes]:
        call = self._stub.ReadFile(request)
        with self._lock:
            self._calls.add(call)
        try:
            if self._stopped.is_set():  # `_stop` may have looked before this call was in the set
                call.cancel()
            with translated():
                for response in call:
                    yield response.chunk
        finally:
            call.cancel()
            with self._lock:
                self._calls.discard(call)


def _ranges(missing: Sequence[PlacedBlob]) -> Iterator[list[PlacedBlob]]:
    """Neighbouring blobs together, RANGE_BYTES at most."""
    found: list[PlacedBlob] = []
    size = 0
    for offset, blob in missing:
        if found and (found[-1][0] + found[-1][1].size != offset or size + blob.size > RANGE_BYTES):
            yield found
            found, size = [], 0
        found.append((offset, blob))
        size += blob.size
    if found:
        yield found
