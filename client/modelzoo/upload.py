"""Sends a directory's bytes to the artifact service: only what is missing there, on several streams at once.

One thread reads and hashes the files in order. Every 256 blobs or 64 MiB make a batch and go to the senders, so that
hashing goes on while sending does. A sender asks which blobs of its batch are missing and reads those again, 1 MiB at
a time, comparing their digests as it goes. So memory holds a few MiB for each stream, and the names of all blobs.
Blobs go straight to the object store where the service signs URLs for that, and through the service otherwise.

A batch whose stream broke off asks again what is missing and sends that, with growing pauses; every acknowledged blob
starts the count of attempts afresh.
Killed and repeated, an upload sends what had not been acknowledged.
"""

import threading
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

import grpc

from modelzoo.attempts import Attempts
from modelzoo.blob_stream import BlobStream, Place
from modelzoo.calls import translated
from modelzoo.cut import scan_file
from modelzoo.direct_write import DirectWrites
from modelzoo.errors import FailedPrecondition, ZooError
from modelzoo.manifest import File, Manifest
from modelzoo.progress import Progress, Silence
from modelzoo.tree import Tree, check_unchanged
from zoo.artifact.v1 import artifact_service_pb2 as pb
from zoo.artifact.v1 import artifact_service_pb2_grpc as rpc

__all__ = ["Base", "Uploaded", "upload"]

STREAMS = 4
BATCH_BLOBS = 256
BATCH_BYTES = 64 * 1024 * 1024
PUT_TIMEOUT_S = 300.0  # the service reads safetensors headers back from storage


@dataclass(frozen=True, slots=True)
class Base:
    """A manifest that the caller may read, whose blobs need not be sent again."""

    namespace: str
    manifest_digest: str


@dataclass(frozen=True, slots=True)
class Uploaded:
    """What is visible in the namespace now. `bytes_sent` counts what went over the wire, resent bytes again."""

    manifest: Manifest
    digest: str
    bytes_sent: int


def upload(
    channel: grpc.Channel,
    tree: Tree,
    namespace: str,
    *,
    format: str,
    bases: Sequence[Base] = (),
    progress: Progress | None = None,
) -> Uploaded:
    """Make the tree's files visible in the namespace, as one manifest.

    Raises what the service's methods raise; LOCAL_PATH_INVALID where a file cannot be read or changed meanwhile,
    SAFETENSORS_INVALID, and Unavailable where the service stays away.
    """
    upload = _Upload(channel, namespace, bases, progress or Silence())
    try:
        return upload.run(tree, format)
    finally:
        upload.stop()


class _Upload:
    def __init__(self, channel: grpc.Channel, namespace: str, bases: Sequence[Base], progress: Progress) -> None:
        self._stub = rpc.ArtifactServiceStub(channel)
        self._namespace = namespace
        self._bases = [
            pb.ManifestName(namespace=base.namespace, manifest_digest=base.manifest_digest) for base in bases
        ]
        self._progress = progress
        self._places: dict[str, Place] = {}
        self._executor = ThreadPoolExecutor(STREAMS, thread_name_prefix="zoo-push")
        self._lock = threading.Lock()
        self._streams: set[BlobStream] = set()
        self._stopped = threading.Event()
        self._bytes_sent = 0
        self._direct = DirectWrites(self._stub, namespace, self._moved)

    def run(self, tree: Tree, format: str) -> Uploaded:
        self._progress.start(tree.size_bytes)
        files: list[File] = []
        self._send_all(self._scan(tree, files))
        check_unchanged(tree)
        manifest = Manifest.of(format, files)
        return Uploaded(manifest, self._put(manifest), self._bytes_sent)

    def stop(self) -> None:
        """End every stream and thread; what was not acknowledged is not stored."""
        self._stopped.set()
        with self._lock:
            streams = list(self._streams)
        for stream in streams:
            stream.cancel()
        self._executor.shutdown(cancel_futures=True)

    def _scan(self, tree: Tree, files: list[File]) -> Iterator[Place]:
        """Every different blob's place, as the files are read; their entries are added to `files`."""
        for entry in tree.files:
            source = tree.source(entry.path)
            file = scan_file(source, entry.path)
            files.append(file)
            offset = 0
            for blob in file.blobs:
                if blob.digest in self._places:
                    self._progress.skip(blob.size)
                else:
                    place = self._places[blob.digest] = Place(blob.digest, blob.size, source, offset)
                    yield place
                offset += blob.size

    def _send_all(self, places: Iterable[Place]) -> None:
        sending: list[Future[None]] = []
        for batch in _batches(places):
            sending.append(self._executor.submit(self._send, batch))
            for done in [future for future in sending if future.done()]:
                sending.remove(done)
                done.result()
        for future in sending:
            future.result()

    def _send(self, batch: Sequence[Place]) -> None:
        """Return once all of the batch is stored."""
        left = {place.digest: place for place in batch}
        attempts = Attempts(self._stopped)
        while left:
            try:
                missing = self._missing(list(left))
                for digest in left.keys() - missing:
                    self._progress.skip(left.pop(digest).size)
                    attempts.progressed()  # stored after all, by a stream that broke off before it said so
                for digest in self._direct.write(list(left.values())):
                    left.pop(digest, None)
                    attempts.progressed()
                for digest in self._write(list(left.values())):
                    left.pop(digest, None)
                    attempts.progressed()
            except ZooError as error:
                attempts.wait_after(error)

    def _missing(self, digests: Sequence[str]) -> set[str]:
        request = pb.FindMissingBlobsRequest(namespace=self._namespace, digests=digests, bases=self._bases)
        with translated():
            return set(self._stub.FindMissingBlobs(request).missing_digests)

    def _write(self, places: Sequence[Place]) -> Iterator[str]:
        if not places:
            return
        stream = BlobStream(self._stub, self._namespace, places, self._moved)
        with self._lock:
            self._streams.add(stream)
        try:
            if self._stopped.is_set():  # `stop` may have looked before this stream was in the set
                stream.cancel()
            yield from stream.acknowledged()
        finally:
            with self._lock:
                self._streams.discard(stream)

    def _moved(self, count_bytes: int) -> None:
        if count_bytes > 0:
            with self._lock:
                self._bytes_sent += count_bytes
        self._progress.advance(count_bytes)

    def _put(self, manifest: Manifest) -> str:
        request = pb.PutManifestRequest(namespace=self._namespace, manifest=manifest.to_bytes(), bases=self._bases)
        try:
            with translated():
                return self._stub.PutManifest(request, timeout=PUT_TIMEOUT_S).manifest_digest
        except FailedPrecondition as error:
            if error.reason != "BLOBS_MISSING":
                raise
        # There when asked for, gone since: readable through a base that was deleted meanwhile, say.
        self._send_all(self._places.values())
        with translated():
            return self._stub.PutManifest(request, timeout=PUT_TIMEOUT_S).manifest_digest


def _batches(places: Iterable[Place]) -> Iterator[list[Place]]:
    batch: list[Place] = []
    size = 0
    for place in places:
        batch.append(place)
        size += place.size
        if len(batch) == BATCH_BLOBS or size >= BATCH_BYTES:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch
