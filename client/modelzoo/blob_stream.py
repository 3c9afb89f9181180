"""One WriteBlobs call: blobs read from local files go out, acknowledgements come back."""

import threading
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from blake3 import blake3

from modelzoo.calls import translated
from modelzoo.errors import Interrupted, InvalidArgument, ZooError
from zoo.artifact.v1 import artifact_service_pb2 as pb
from zoo.artifact.v1 import artifact_service_pb2_grpc as rpc

__all__ = ["BlobStream", "Place", "read_chunks"]

CHUNK_BYTES = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Place:
    """Where a blob's bytes lie on this machine."""

    digest: str
    size: int
    file: Path
    offset: int


class BlobStream:
    """A call that stores `places` in `namespace`; `on_bytes` hears of every chunk as it leaves.

    `acknowledged` may be taken once. `cancel` ends the call from any thread.
    """

    def __init__(
        self,
        stub: rpc.ArtifactServiceStub,
        namespace: str,
        places: Sequence[Place],
        on_bytes: Callable[[int], None],
    ) -> None:
        self._namespace = namespace
        self._places = places
        self._on_bytes = on_bytes
        self._lock = threading.Lock()
        self._unacknowledged: dict[str, int] = {}
        self._closed = False
        self._fault: Exception | None = None
        self._opened = threading.Event()
        self._call = stub.WriteBlobs(self._requests())
        self._opened.set()

    def acknowledged(self) -> Generator[str]:
        """The digests in order, each as it is stored.

        Where the call ends before all are, the chunks not acknowledged are taken back from `on_bytes`, and it raises:
        LOCAL_PATH_INVALID if a file is not what it was when it was hashed, what `on_bytes` raised, or what ended the
        call.
        """
        waiting = {place.digest for place in self._places}
        try:
            with translated():
                for response in self._call:
                    with self._lock:
                        self._unacknowledged.pop(response.digest, None)
                    waiting.discard(response.digest)
                    yield response.digest
            if waiting:
                raise Interrupted("STREAM_INTERRUPTED", "The upload ended before all of it was acknowledged.")
        except ZooError as error:
            if self._fault is not None:
                raise self._fault from error
            raise
        finally:
            self.cancel()
            self._take_back()

    def cancel(self) -> None:
        self._call.cancel()

    def _requests(self) -> Iterator[pb.WriteBlobsRequest]:
        # grpc logs what a request iterator raises and hides it from the caller. So whatever it is, `on_bytes`' errors
        # too, is kept here, and the call cancelled.
        try:
            yield pb.WriteBlobsRequest(header=pb.WriteBlobsHeader(namespace=self._namespace))
            for place in self._places:
                yield pb.WriteBlobsRequest(blob=pb.BlobStart(digest=place.digest, size_bytes=place.size))
                for chunk in read_chunks(place):
                    if not self._count(place.digest, len(chunk)):
                        return
                    yield pb.WriteBlobsRequest(chunk=chunk)
        except Exception as error:  # noqa: BLE001
            self._fault = error
            self._opened.wait()
            self._call.cancel()

    def _count(self, digest: str, size: int) -> bool:
        with self._lock:
            if self._closed:
                return False
            self._unacknowledged[digest] = self._unacknowledged.get(digest, 0) + size
            self._on_bytes(size)
            return True

    def _take_back(self) -> None:
        with self._lock:
            self._closed = True
            lost = sum(self._unacknowledged.values())
            if lost:
                self._on_bytes(-lost)


def read_chunks(place: Place) -> Iterator[bytes]:
    """The blob's bytes. Raises before the last of them where they do not have the digest."""
    hasher = blake3()
    left = place.size
    try:
        with place.file.open("rb") as file:
            file.seek(place.offset)
            while left:
                chunk = file.read(min(CHUNK_BYTES, left))
                hasher.update(chunk)
                left -= len(chunk)
                if not chunk or (not left and hasher.hexdigest() != place.digest):
                    raise _changed(place.file)
                yield chunk
    except OSError as error:
        raise _changed(place.file) from error


def _changed(file: Path) -> InvalidArgument:
    return InvalidArgument(
        "LOCAL_PATH_INVALID", f"{str(file)!a} changed while it was pushed; push again when nothing writes to it."
    )
