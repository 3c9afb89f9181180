"""Blobs straight from the object store into a file of the cache: a chunk of 1 MiB a thread in memory, all verified."""

import threading
from collections.abc import Callable, Sequence

from modelzoo.cache_part import PartialFile
from modelzoo.calls import translated
from modelzoo.errors import DataLoss, Interrupted, ZooError
from modelzoo.manifest import Blob
from modelzoo.object_store import Failure, StoreConnection, StoreFailed, is_off, turn_off
from zoo.artifact.v1 import artifact_service_pb2 as pb
from zoo.artifact.v1 import artifact_service_pb2_grpc as rpc

__all__ = ["DirectReads"]

# Below that a stream of the service costs less than asking for a URL.
DIRECT_BYTES_MIN = 1024 * 1024
SIGNED_AT_ONCE = 1000
FAILURES_MAX = 3
PAUSE_S = 0.1


class DirectReads:
    """Of one manifest, by any number of threads. `received` and `lost` hear of bytes that came, and came in vain."""

    def __init__(
        self,
        stub: rpc.ArtifactServiceStub,
        namespace: str,
        manifest_digest: str,
        received: Callable[[int], None],
        lost: Callable[[int], None],
        stopped: threading.Event,
    ) -> None:
        self._stub = stub
        self._namespace = namespace
        self._manifest_digest = manifest_digest
        self._received = received
        self._lost = lost
        self._stopped = stopped
        self._none = False

    def fetch(self, part: PartialFile, blobs: Sequence[tuple[int, Blob]]) -> int:
        """Put blobs into the file, in order, and return how many: the rest has to come through the service."""
        if self._none or sum(blob.size for _, blob in blobs) < DIRECT_BYTES_MIN:
            return 0
        connection = StoreConnection()
        done = 0
        try:
            while done < len(blobs):
                some = blobs[done : done + SIGNED_AT_ONCE]
                count = self._fetch_signed(part, some, connection)
                done += count
                if count < len(some):
                    break
            return done
        finally:
            connection.close()

    def _fetch_signed(self, part: PartialFile, blobs: Sequence[tuple[int, Blob]], connection: StoreConnection) -> int:
        urls = self._sign(blobs)
        signed_again = False
        done = 0
        while urls and done < len(blobs):
            url = urls[done]
            if is_off(url):
                break
            try:
                self._fetch_blob(part, *blobs[done], url, connection)
                done, signed_again = done + 1, False
            except DataLoss:  # the service says whether the store or the way is at fault
                break
            except StoreFailed as error:
                if error.failure is Failure.REFUSED and not signed_again:
                    urls, signed_again = self._sign(blobs), True
                    continue
                if error.failure is not Failure.WRONG:
                    turn_off(url)
                break
        return done

    def _fetch_blob(self, part: PartialFile, offset: int, blob: Blob, url: str, connection: StoreConnection) -> None:
        writer = part.writer(offset, blob)
        failures = 0
        try:
            while writer.written < blob.size:
                before = writer.written
                try:
                    for piece in connection.get(url, writer.written, blob.size):
                        if self._stopped.is_set():
                            raise Interrupted("STREAM_INTERRUPTED", "The transfer was stopped.")
                        writer.write(piece)
                        self._received(len(piece))
                except StoreFailed as error:
                    failures = 1 if writer.written > before else failures + 1
                    if error.failure is not Failure.BROKEN or failures == FAILURES_MAX:
                        raise
                    self._stopped.wait(PAUSE_S * failures)
            writer.finish()
        except BaseException:
            self._lost(writer.written)
            raise

    def _sign(self, blobs: Sequence[tuple[int, Blob]]) -> Sequence[str]:
        request = pb.SignReadsRequest(
            namespace=self._namespace,
            manifest_digest=self._manifest_digest,
            digests=[blob.digest for _, blob in blobs],
        )
        try:
            with translated():
                urls = list(self._stub.SignReads(request).urls)
        except ZooError:  # an older service; or ReadFile says it better
            urls = list[str]()
        self._none = not urls
        return urls
