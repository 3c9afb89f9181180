"""Blobs: immutable bytes under keys. The contract, its errors, and `open_blobs`; drivers have modules of their own."""

import re
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol
from urllib.parse import urlsplit

from modelzoo.errors import NotFound, OutOfRange, Unavailable

__all__ = [
    "PIECE_BYTES",
    "BlobInfo",
    "BlobStore",
    "S3Credentials",
    "SignedPut",
    "blob_not_found",
    "check_key",
    "check_range",
    "open_blobs",
    "storage_unavailable",
]

RETRY_AFTER_S = 1.0
PIECE_BYTES = 1024 * 1024

_SEGMENT = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]*")


@dataclass(frozen=True, slots=True)
class BlobInfo:
    """What a listing says of one blob; `modified` is the store's time, in UTC."""

    key: str
    size_bytes: int
    modified: datetime


@dataclass(frozen=True, slots=True)
class S3Credentials:
    access_key: str
    secret_key: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class SignedPut:
    """A URL for a PUT, and the headers that it must carry as they are."""

    url: str = field(repr=False)
    headers: Mapping[str, str]


class BlobStore(Protocol):
    """Bytes under keys, in an object store or what behaves like one.

    A key is one or more segments of `[A-Za-z0-9._-]`, none beginning with a dot, joined by `/`; any other is a
    ValueError. Callers see to it that no key is a directory prefix of another (`a` and `a/b`): not every store can
    hold both.

    Errors: absence, and only absence, is NotFound BLOB_NOT_FOUND. Whatever else goes wrong (no connection, no answer
    in time, an error status, a body shorter than announced) is Unavailable STORAGE_UNAVAILABLE and says nothing about
    whether the blob is there. A driver may repeat what failed in passing, within a budget; whoever calls it does not.
    """

    async def put(self, key: str, data: bytes) -> None:
        """Store `data` under `key`. After it returns, every reader sees all of `data`, even if the store is killed.

        Idempotent. A reader sees all of the old bytes or all of the new, never a mixture or a part; after a failure
        it sees one or the other. Bytes that changed on the way are a failure. Writers of one key with equal bytes
        never disturb each other or a reader; with bytes of different sizes one of them may fail.
        """
        ...

    async def get(self, key: str, offset: int = 0, length: int | None = None) -> bytes:
        """Exactly `length` bytes from `offset`, or all from there on; never fewer.

        A range that leaves the blob is OutOfRange RANGE_INVALID. Bytes are not compared with any digest.
        """
        ...

    async def read(self, key: str, consume: Callable[[memoryview], object]) -> int:
        """Give all bytes to `consume`, in order, and return how many they were: memory for PIECE_BYTES is enough.

        It is called in some thread, with at most PIECE_BYTES, which are overwritten afterwards. Errors are those of
        `get`; what was given before one counts for nothing. What `consume` raises ends the read, and is raised.
        """
        ...

    async def size(self, key: str) -> int | None:
        """The blob's size in bytes, or None if there is no such blob."""
        ...

    async def delete(self, key: str) -> None:
        """After it returns there is no such blob. Idempotent."""
        ...

    def list(self, prefix: str) -> AsyncIterator[BlobInfo]:
        """Every blob whose key begins with `prefix`, in no promised order.

        A blob that is there from beginning to end is listed once; one that comes or goes meanwhile may be missing.
        """
        ...

    def sign_get(self, key: str, expires_s: int) -> str | None:
        """A URL by which anyone may GET the blob, ranges included, for that long.

        None where the store has no URLs, or none that others can reach. Blocks for less than a millisecond.
        """
        ...

    def sign_put(self, key: str, size_bytes: int, sha256: str, expires_s: int) -> SignedPut | None:
        """What anyone may PUT for that long: so many bytes with that SHA-256 (hexadecimal), where there is no blob.

        The store refuses everything else: other bytes, other lengths, and any PUT that ends when there is a blob under
        the key. None where it does not see to that, has no URLs, or none that others can reach.
        """
        ...


@asynccontextmanager
async def open_blobs(
    url: str, credentials: S3Credentials | None = None, public_endpoint: str = ""
) -> AsyncGenerator[BlobStore]:
    """The store that `url` names, ready to use.

    `public_endpoint` is where others reach the same store, `http[s]://host[:port]`; empty: they do not.

    `memory://` is empty and goes with the process. `s3://bucket/prefix?endpoint=...` is described in blobs_s3; it
    needs `credentials`. Raises ValueError for a URL that names no store, Unavailable for a store that does not answer.
    """
    # Drivers are imported where they are chosen, so that nobody loads the libraries of the others.
    scheme = urlsplit(url).scheme
    if scheme == "memory":
        from zoo_store.blobs_memory import MemoryBlobStore

        yield MemoryBlobStore()
    elif scheme == "s3":
        from zoo_store.blobs_s3 import S3BlobStore, S3Settings

        if credentials is None:
            raise ValueError(f"a blobs URL {url!r} needs an access key and a secret key")
        async with S3BlobStore.open(S3Settings.from_url(url), credentials, public_endpoint) as store:
            yield store
    else:
        raise ValueError(f"a blobs URL begins with s3:// or memory://, not {url!r}")


def check_key(key: str) -> str:
    """`key`, if it is one; ValueError otherwise. Keys are made by services, so a wrong one is a bug, not bad input."""
    if all(_SEGMENT.fullmatch(segment) for segment in key.split("/")):
        return key
    raise ValueError(f"not a blob key: {key!r}")


def check_range(key: str, size_bytes: int, offset: int, length: int | None) -> None:
    """Raise OutOfRange RANGE_INVALID unless a blob of that size has all of that range."""
    if offset < 0 or (length is not None and length < 0):
        raise ValueError(f"a range begins at 0 or later and is not negative: offset {offset}, length {length}")
    if offset + (length or 0) > size_bytes:
        raise OutOfRange(
            "RANGE_INVALID",
            f"the blob {key} has {size_bytes} bytes; the range from {offset}, {length} long, leaves it",
            metadata={"size_bytes": str(size_bytes)},
        )


def blob_not_found(key: str) -> NotFound:
    return NotFound("BLOB_NOT_FOUND", f"there is no blob {key}", metadata={"key": key})


def storage_unavailable(what: str) -> Unavailable:
    """`what` completes the sentence "the object store ..."; it names no host and no credential."""
    return Unavailable("STORAGE_UNAVAILABLE", f"the object store {what}; try again", retry_after_s=RETRY_AFTER_S)
