"""Blobs in any S3: AWS, SeaweedFS, MinIO and what else speaks it.

boto3 signs and lists; bytes go over urllib3 on the URLs that it signs: a third of boto3's CPU for a write, a fifth less
time for small requests, and one place where answers are judged (docs/adr/0004-s3-access.md has the figures).
"""

import asyncio
import dataclasses
import hashlib
import logging
import re
import uuid
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TypeVar

from urllib3.exceptions import HTTPError

from modelzoo.errors import Unavailable, ZooError
from zoo_store.blobs import (
    BlobInfo,
    S3Credentials,
    SignedPut,
    blob_not_found,
    check_key,
    check_range,
    storage_unavailable,
)
from zoo_store.s3_client import Operation, S3Client, S3Settings
from zoo_store.s3_requests import ATTEMPTS, Response, S3Requests
from zoo_store.s3_signed_put import holds_puts_to_their_signature

__all__ = ["S3BlobStore", "S3Settings"]

# Long enough for the slowest transfer that the timeouts permit.
OWN_URL_EXPIRES_S = 3600
PROBE_PREFIX = "probe"
PROBE_DATA, PROBE_OTHER_DATA = b"zoo-probe", b"zoo-prove"

_ERROR_CODE = re.compile(rb"<Code>(\w{1,64})</Code>")

T = TypeVar("T")

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Quirks:
    """What this store does with requests on which stores differ, as found and logged at start.

    conditional_put: a second PUT with `If-None-Match: *` is refused. Nothing depends on it.
    checked_put: a PUT of other bytes than their signed SHA-256 says is refused. Without it what was put is read back.
    signed_put: a PUT to a signed URL does what was signed and nothing else. Without it no PUT is signed for others.
    """

    conditional_put: bool
    checked_put: bool
    signed_put: bool


class S3BlobStore:
    """A BlobStore in one bucket, its keys below one prefix. Requests wait and are repeated as S3Requests says."""

    def __init__(self, settings: S3Settings, credentials: S3Credentials, public_endpoint: str) -> None:
        self._prefix = f"{settings.prefix}/" if settings.prefix else ""
        self._client = S3Client(settings, credentials)
        # Signs for others, under the name by which they know the store.
        public = dataclasses.replace(settings, endpoint=public_endpoint)
        self._public = S3Client(public, credentials) if public_endpoint else None
        self._requests = S3Requests(settings)
        self._threads = ThreadPoolExecutor(settings.connections, thread_name_prefix="s3")
        self.quirks: Quirks | None = None

    @classmethod
    @asynccontextmanager
    async def open(
        cls, settings: S3Settings, credentials: S3Credentials, public_endpoint: str = ""
    ) -> AsyncGenerator["S3BlobStore"]:
        """The store, its bucket made if missing, after a blob was written, read and deleted."""
        store = cls(settings, credentials, public_endpoint)
        try:
            store.quirks = await store._in_thread(store._probe)
            log.info("object store is ready", extra={"bucket": settings.bucket, "quirks": str(store.quirks)})
            yield store
        finally:
            # Its threads end when their requests do; the loop does not wait on them meanwhile.
            await asyncio.to_thread(store._close)

    async def put(self, key: str, data: bytes) -> None:
        await self._in_thread(lambda: self._put(check_key(key), data))

    async def get(self, key: str, offset: int = 0, length: int | None = None) -> bytes:
        return await self._in_thread(lambda: self._get(check_key(key), offset, length))

    async def read(self, key: str, consume: Callable[[memoryview], object]) -> int:
        return await self._in_thread(lambda: self._read(check_key(key), consume))

    async def size(self, key: str) -> int | None:
        return await self._in_thread(lambda: self._size(check_key(key)))

    async def delete(self, key: str) -> None:
        await self._in_thread(lambda: self._delete(check_key(key)))

    async def list(self, prefix: str) -> AsyncIterator[BlobInfo]:
        pages = self._client.list_pages(self._prefix + prefix)
        # An empty page may come before a full one.
        while (page := await self._in_thread(lambda: next(pages, None))) is not None:
            for found in page:
                yield BlobInfo(found.key.removeprefix(self._prefix), found.size_bytes, found.modified)

    def sign_get(self, key: str, expires_s: int) -> str | None:
        return self._public.sign("get_object", self._prefix + check_key(key), expires_s) if self._public else None

    def sign_put(self, key: str, size_bytes: int, sha256: str, expires_s: int) -> SignedPut | None:
        if self._public is None or self.quirks is None or not self.quirks.signed_put:
            return None
        return self._public.sign_put(self._prefix + check_key(key), size_bytes, sha256, expires_s)

    async def _in_thread(self, work: Callable[[], T]) -> T:
        """Where every blocking call of this store runs. Cancelled, the caller goes at once, the request by itself."""
        return await asyncio.get_running_loop().run_in_executor(self._threads, work)

    def _close(self) -> None:
        self._threads.shutdown(wait=True)
        self._requests.close()
        self._client.close()
        if self._public:
            self._public.close()

    def _put(self, key: str, data: bytes) -> None:
        is_checked = self.quirks is not None and self.quirks.checked_put
        response = self._put_checked(key, data, data) if is_checked else self._request("PUT", "put_object", key, data)
        if response.status != 200:
            raise _refused(response, "a write")
        # Stores have answered 200 to writes of which they kept a part.
        stored = self._size(key)
        if stored != len(data):
            raise storage_unavailable(f"took {len(data)} bytes of {key} and has {stored}")
        if not is_checked and self._get(key, 0, None) != data:
            raise storage_unavailable(f"took {key} and has other bytes under it")

    def _put_checked(self, key: str, data: bytes, promised: bytes, attempts: int = ATTEMPTS) -> Response:
        """A PUT of `data` that says the SHA-256 of `promised`, so that the store notices what changed on the way."""
        sha256 = hashlib.sha256(promised).digest()
        signed = self._client.sign_checked_put(self._prefix + key, sha256, OWN_URL_EXPIRES_S)
        return self._requests.send("PUT", signed.url, signed.headers, data, attempts=attempts)

    def _get(self, key: str, offset: int, length: int | None) -> bytes:
        if offset == 0 and length is None:
            response = self._request("GET", "get_object", key)
            if _is_absence(response):
                raise blob_not_found(key)
            if response.status != 200:
                raise _refused(response, "a read")
            return response.data
        if length == 0 or offset < 0:  # HTTP cannot say these ranges
            size_bytes = self._size(key)
            if size_bytes is None:
                raise blob_not_found(key)
            check_range(key, size_bytes, offset, length)
            return b""
        part = self._get_range(key, offset, "" if length is None else str(offset + length - 1))
        if part is None:
            raise blob_not_found(key)
        check_range(key, part.total_bytes, offset, length)
        wanted = part.total_bytes - offset if length is None else length
        if len(part.data) != wanted:
            raise storage_unavailable(f"sent {len(part.data)} bytes of {wanted}")
        return part.data

    def _read(self, key: str, consume: Callable[[memoryview], object]) -> int:
        response = self._requests.read(self._client.sign("get_object", self._prefix + key, OWN_URL_EXPIRES_S), consume)
        if response.status != 200:
            raise blob_not_found(key) if _is_absence(response) else _refused(response, "a read")
        return response.size_bytes

    def _get_range(self, key: str, first: int, last: str) -> "_Part | None":
        """What the store has of that range, perhaps nothing; None if there is no such blob."""
        response = self._request("GET", "get_object", key, headers={"Range": f"bytes={first}-{last}"})
        if _is_absence(response):
            return None
        if response.status not in (206, 416):
            raise _refused(response, "a read of a range")
        # RFC 9110, 14.4: `bytes 0-9/100`, or `bytes */100` with a 416.
        _, _, total = response.headers.get("Content-Range", "").rpartition("/")
        if not total.isdigit():
            raise storage_unavailable("answered a range without saying the size of the whole")
        return _Part(response.data if response.status == 206 else b"", int(total))

    def _size(self, key: str) -> int | None:
        response = self._request("HEAD", "head_object", key)
        if response.status == 404:
            # The answer to a HEAD has no body to say what is missing, the key or the bucket.
            part = self._get_range(key, 0, "0")
            return None if part is None else part.total_bytes
        if response.status != 200 or "Content-Length" not in response.headers:
            raise _refused(response, "a question for a size")
        return int(response.headers["Content-Length"])

    def _delete(self, key: str) -> None:
        response = self._request("DELETE", "delete_object", key)
        if response.status not in (200, 204) and not _is_absence(response):
            raise _refused(response, "a delete")

    def _request(
        self,
        method: str,
        operation: Operation,
        key: str,
        body: bytes | None = None,
        headers: dict[str, str] | None = None,
    ) -> Response:
        """The response with its whole body, whatever its status; Unavailable if there is none, or a part of one."""
        url = self._client.sign(operation, self._prefix + key, OWN_URL_EXPIRES_S)
        return self._requests.send(method, url, headers, body)

    def _probe(self) -> Quirks:
        """Write, read and delete a blob: what fails at start is easier to understand than what fails later."""
        self._client.ensure_bucket()
        key = f"{PROBE_PREFIX}/{uuid.uuid4().hex}"
        try:
            self._put(key, PROBE_DATA)
            if self._get(key, 4, 5) != PROBE_DATA[4:]:
                raise storage_unavailable("does not serve ranges")
            again = self._request("PUT", "put_object", key, PROBE_DATA, {"If-None-Match": "*"})
            self._delete(key)
            return Quirks(
                conditional_put=again.status in (409, 412),
                checked_put=self._checks_puts(key),
                signed_put=self._holds_puts(key),
            )
        finally:
            self._delete(key)

    def _checks_puts(self, key: str) -> bool:
        """Whether it takes what its SHA-256 is of, and nothing else. Leaves nothing under the key."""
        wrong = self._put_checked(key, PROBE_OTHER_DATA, PROBE_DATA, attempts=1)
        right = self._put_checked(key, PROBE_DATA, PROBE_DATA)
        self._delete(key)
        return wrong.status == 400 and right.status == 200

    def _holds_puts(self, key: str) -> bool:
        """Only asked where something will be signed."""
        if self._public is None:
            return False
        try:
            return holds_puts_to_their_signature(
                self._client,
                self._requests.pool,
                self._prefix + key,
                lambda data: self._put(key, data),
                lambda: self._get(key, 0, None),
            )
        except (HTTPError, ZooError) as error:  # it broke off on what it did not expect: that is no enforcement
            log.warning("the object store cannot be trusted with signed writes: %s", error)
            return False


@dataclass(frozen=True, slots=True)
class _Part:
    data: bytes
    total_bytes: int


def _is_absence(response: Response) -> bool:
    """Whether the store says that it has no such key: a 404 may as well come from a missing bucket or a proxy."""
    return response.status == 404 and _error_code(response) == "NoSuchKey"


def _refused(response: Response, what: str) -> Unavailable:
    return storage_unavailable(f"answered {response.status} {_error_code(response)} to {what}")


def _error_code(response: Response) -> str:
    found = _ERROR_CODE.search(response.data)
    return found[1].decode() if found else ""
