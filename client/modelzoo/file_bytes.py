"""Ranges of a version's files: from the zoo, from the node cache where a file lies there, or from a local directory.

What is verified. A blob that is fetched whole is checked here, against the manifest, whose own digest is the version's
identity. Of a blob of which only a part is asked for, that part alone is fetched: the service checks the whole blob
before it sends any of it, but here nothing can. Whoever asks for half of a blob or more gets it whole. A file that the
node cache holds was verified whole.
"""

import os
import threading
from collections import OrderedDict
from pathlib import Path
from typing import Protocol

import grpc
from blake3 import blake3

from modelzoo import config
from modelzoo.attempts import Attempts
from modelzoo.cache import NodeCache
from modelzoo.calls import translated
from modelzoo.cut import scan_file
from modelzoo.errors import DataLoss, Interrupted, InvalidArgument, ZooError
from modelzoo.header_cache import HeaderCache
from modelzoo.manifest import Blob, File, Manifest
from modelzoo.progress import Progress
from modelzoo.pull import get_manifest
from modelzoo.records import Version
from modelzoo.reference import parse
from modelzoo.safetensors_header import Header
from modelzoo.tensor_index import overlapping
from modelzoo.tree import Tree
from zoo.artifact.v1 import artifact_service_pb2 as pb
from zoo.artifact.v1 import artifact_service_pb2_grpc as rpc

__all__ = ["FileBytes", "LocalBytes", "ZooBytes", "local_directory", "scanned", "stored"]

SMALL_BLOB_BYTES = 256 * 1024  # fetched whole whatever is asked for: the call costs more than the bytes
SMALL_BLOBS_KEPT = 64  # in memory, as many small tensors of one blob are asked for one by one


class FileBytes(Protocol):
    """The files of one manifest, to be read in ranges by any number of threads."""

    @property
    def manifest(self) -> Manifest: ...

    @property
    def bytes_received(self) -> int:
        """Bytes that came over the wire so far."""
        ...

    def read(self, file: File, offset: int, length: int) -> bytearray:
        """Exactly these bytes of the file. Raises what reading it raises, BLOB_CORRUPT among it."""
        ...

    def header(self, file: File) -> Header:
        """The header of a safetensors file. SAFETENSORS_INVALID."""
        ...


class ZooBytes:
    """A published version's files."""

    def __init__(
        self, channel: grpc.Channel, cache: NodeCache, namespace: str, digest: str, manifest: Manifest
    ) -> None:
        self.manifest = manifest
        self.bytes_received = 0
        self._stub = rpc.ArtifactServiceStub(channel)
        self._cache = cache
        self._namespace = namespace
        self._digest = digest
        self._headers = HeaderCache(cache.root)
        self._lock = threading.Lock()
        self._small: OrderedDict[str, bytearray] = OrderedDict()

    def read(self, file: File, offset: int, length: int) -> bytearray:
        with self._cache.hold_if_here(file) as path:
            if path is not None:
                return _read_local(path, offset, length)
        return self._fetch(file, offset, length)

    def header(self, file: File) -> Header:
        return self._headers.header(file, self.read)

    def _fetch(self, file: File, offset: int, length: int) -> bytearray:
        blobs = overlapping(file, offset, length)
        if not blobs:
            return bytearray()
        if len(blobs) == 1 and blobs[0][1].size <= SMALL_BLOB_BYTES:
            at, blob = blobs[0]
            return self._small_blob(file, at, blob)[offset - at : offset - at + length]
        begin = blobs[0][0] if _wants_whole(blobs[0], offset, length) else offset
        end = offset + length
        if _wants_whole(blobs[-1], offset, length):
            end = blobs[-1][0] + blobs[-1][1].size
        data = self._stream(file.path, begin, end - begin)
        for at, blob in blobs:
            if at >= begin and at + blob.size <= end:
                _check(file, blob, memoryview(data)[at - begin : at - begin + blob.size])
        return data if (begin, end) == (offset, offset + length) else data[offset - begin : offset - begin + length]

    def _small_blob(self, file: File, offset: int, blob: Blob) -> bytearray:
        with self._lock:
            kept = self._small.pop(blob.digest, None)
        if kept is None:
            kept = self._stream(file.path, offset, blob.size)
            _check(file, blob, kept)
        with self._lock:
            self._small[blob.digest] = kept
            while len(self._small) > SMALL_BLOBS_KEPT:
                self._small.popitem(last=False)
        return kept

    def _stream(self, path: str, offset: int, length: int) -> bytearray:
        attempts = Attempts(threading.Event())
        while True:
            try:
                return self._stream_once(path, offset, length)
            except ZooError as error:
                attempts.wait_after(error)

    def _stream_once(self, path: str, offset: int, length: int) -> bytearray:
        request = pb.ReadFileRequest(
            namespace=self._namespace,
            manifest_digest=self._digest,
            path=path,
            offset_bytes=offset,
            length_bytes=length,
        )
        data = bytearray()
        call = self._stub.ReadFile(request)
        try:
            with translated():
                for response in call:
                    data += response.chunk
        finally:
            call.cancel()
            with self._lock:
                self.bytes_received += len(data)
        if len(data) != length:
            raise Interrupted("STREAM_INTERRUPTED", f"{path!a} ended before all of it came; read it again.")
        return data


class LocalBytes:
    """A directory's files, cut as a push would cut them."""

    def __init__(self, tree: Tree, manifest: Manifest, headers: Path) -> None:
        self.manifest = manifest
        self.bytes_received = 0
        self._tree = tree
        self._headers = HeaderCache(headers)

    def read(self, file: File, offset: int, length: int) -> bytearray:
        try:
            return _read_local(self._tree.source(file.path), offset, length)
        except OSError as error:
            raise _unreadable(file, error.strerror or str(error)) from error

    def header(self, file: File) -> Header:
        return self._headers.header(file, self.read)


def local_directory(side: str | os.PathLike[str]) -> Path | None:
    """The directory that is meant: by a path object, or by text that begins with `.`, `/` or `~`; else None."""
    if isinstance(side, str) and not side.startswith((".", "/", "~")):
        return None
    return Path(side).expanduser()


def scanned(tree: Tree, headers: Path, progress: Progress | None = None) -> LocalBytes:
    """The tree's files, read once to be cut and hashed. Raises what `scan_file` raises."""
    advance = None if progress is None else progress.advance
    files = [scan_file(tree.source(entry.path), entry.path, advance) for entry in tree.files]
    return LocalBytes(tree, Manifest.of("opaque", files), headers)


def _wants_whole(placed: tuple[int, Blob], offset: int, length: int) -> bool:
    """Whether so much of the blob is asked for, or so little saved, that all of it is fetched and so verified."""
    at, blob = placed
    asked = min(at + blob.size, offset + length) - max(at, offset)
    return blob.size <= SMALL_BLOB_BYTES or 2 * asked >= blob.size


def _check(file: File, blob: Blob, data: bytearray | memoryview) -> None:
    if blake3(data).hexdigest() != blob.digest:
        raise DataLoss("BLOB_CORRUPT", f"A part of {file.path!a} arrived damaged: read it again.")


def _read_local(path: Path, offset: int, length: int) -> bytearray:
    data = bytearray(length)
    with path.open("rb", buffering=0) as file:
        filled = 0
        while filled < length:
            count = os.preadv(file.fileno(), [memoryview(data)[filled:]], offset + filled)
            if not count:
                raise OSError("it became shorter while it was read")
            filled += count
    return data


def _unreadable(file: File, why: str) -> InvalidArgument:
    return InvalidArgument("LOCAL_PATH_INVALID", f"{file.path!a} cannot be read: {why}.")


def stored(channel: grpc.Channel, version: Version) -> ZooBytes:
    """The version's files, through the node cache where they lie there. Raises what GetManifest raises."""
    namespace, digest = parse(version.model).namespace, version.manifest_digest
    settings = config.cache_config()
    cache = NodeCache(settings.root, settings.budget_bytes)
    return ZooBytes(channel, cache, namespace, digest, get_manifest(channel, namespace, digest))
