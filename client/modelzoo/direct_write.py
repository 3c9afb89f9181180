"""Blobs from local files straight into the object store: a chunk of 1 MiB a thread in memory, all verified."""

import hashlib
from collections.abc import Callable, Iterator, Sequence

from blake3 import blake3

from modelzoo.blob_stream import Place, read_chunks
from modelzoo.calls import translated
from modelzoo.errors import InvalidArgument, Unimplemented
from modelzoo.object_store import Failure, StoreConnection, StoreFailed, is_off, turn_off
from zoo.artifact.v1 import artifact_service_pb2 as pb
from zoo.artifact.v1 import artifact_service_pb2_grpc as rpc

__all__ = ["DirectWrites"]

# Below that a stream of the service, which has several under way, is faster.
DIRECT_BYTES_MIN = 1024 * 1024


class DirectWrites:
    """Into one namespace, by any number of threads. `moved` hears of every chunk as it leaves, and takes back what
    left in vain as a negative number."""

    def __init__(self, stub: rpc.ArtifactServiceStub, namespace: str, moved: Callable[[int], None]) -> None:
        self._stub = stub
        self._namespace = namespace
        self._moved = moved
        self._none = False

    def write(self, places: Sequence[Place]) -> set[str]:
        """Store blobs; the digests of those that are: the rest has to go through the service.

        LOCAL_PATH_INVALID if a file is not what it was when it was hashed; what CommitBlobs raises.
        """
        large = {place.digest: place for place in places if place.size >= DIRECT_BYTES_MIN}
        if self._none or not large:
            return set()
        sent: dict[str, pb.WrittenBlob] = {}
        connection = StoreConnection()
        try:
            for write in self._sign(list(large.values())):
                if is_off(write.url):
                    break
                place = large[write.digest]
                # Once more: a connection may have broken under it.
                proof = self._put(write, place, connection) or self._put(write, place, connection)
                if proof is None:
                    turn_off(write.url)
                else:
                    sent[place.digest] = pb.WrittenBlob(digest=place.digest, size_bytes=place.size, proof=proof)
            return self._commit(sent)
        except BaseException:
            self._take_back(sent)
            raise
        finally:
            connection.close()

    def _sign(self, places: Sequence[Place]) -> Sequence[pb.SignedWrite]:
        blobs = [pb.BlobToWrite(digest=place.digest, size_bytes=place.size, sha256=_sha256(place)) for place in places]
        try:
            with translated():
                writes = self._stub.SignWrites(pb.SignWritesRequest(namespace=self._namespace, blobs=blobs)).writes
        except Unimplemented:  # an older service
            self._none = True
            return ()
        return writes

    def _put(self, write: pb.SignedWrite, place: Place, connection: StoreConnection) -> bytes | None:
        """The proof that CommitBlobs wants, once the blob is in the store; None where it did not get there."""
        keyed = blake3(key=write.proof_key)
        moved = 0
        if is_off(write.url):
            return None

        def chunks() -> Iterator[bytes]:
            nonlocal moved
            for chunk in read_chunks(place):
                keyed.update(chunk)
                yield chunk
                moved += len(chunk)
                self._moved(len(chunk))

        try:
            connection.put(write.url, write.headers, chunks())
            return keyed.digest()
        except StoreFailed as error:
            self._moved(-moved)
            if error.failure is Failure.UNREACHABLE:
                turn_off(write.url)
            return None
        except BaseException:
            connection.close()
            self._moved(-moved)
            raise

    def _commit(self, sent: dict[str, pb.WrittenBlob]) -> set[str]:
        if not sent:
            return set()
        request = pb.CommitBlobsRequest(namespace=self._namespace, blobs=sent.values())
        with translated():
            missing = set(self._stub.CommitBlobs(request).missing_digests)
        self._take_back({digest: sent[digest] for digest in missing})
        return sent.keys() - missing

    def _take_back(self, sent: dict[str, pb.WrittenBlob]) -> None:
        if sent:
            self._moved(-sum(blob.size_bytes for blob in sent.values()))


def _sha256(place: Place) -> str:
    """Of the bytes as they are now: if they are not those of the digest any more, sending them finds out."""
    hasher = hashlib.sha256()
    try:
        with place.file.open("rb") as file:
            file.seek(place.offset)
            left = place.size
            while left and (chunk := file.read(min(1024 * 1024, left))):
                hasher.update(chunk)
                left -= len(chunk)
    except OSError as error:
        raise InvalidArgument("LOCAL_PATH_INVALID", f"{str(place.file)!a} cannot be read any more.") from error
    return hasher.hexdigest()
