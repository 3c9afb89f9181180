"""Blobs in any S3: AWS, SeaweedFS, MinIO and what else speaks it.

boto3 signs and lists; bytes go over urllib3 on the URLs that it signs: a third of boto3's CPU for a write, a fifth less
time for small requests, and one place where answers are judged (docs/adr/0004-s3-access.md has the figures).
"""

import asyncio
import dataclasses
import logging
import re
import uuid
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Generator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from typing import TypeVar

import urllib3
from urllib3.exceptions import HTTPError, ProtocolError

from modelzoo.errors import Unavailable, ZooError
from zoo_store.blobs import (
    PIECE_BYTES,
    BlobInfo,
    S3Credentials,
    SignedPut,
    blob_not_found,
    check_key,
    check_range,
    storage_unavailable,
)
from zoo_store.s3_client import Operation, S3Client, S3Settings
from zoo_store.s3_signed_put import holds_puts_to_their_signature

__all__ = ["S3BlobStore", "S3Settings"]

# Long enough for the slowest transfer that the timeouts permit.
OWN_URL_EXPIRES_S = 3600
PROBE_PREFIX = "probe"
PROBE_DATA = b"zoo-probe"

_ERROR_CODE = re.compile(rb"<Code>(\w{1,64})</Code>")

T = TypeVar("T")

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Quirks:
    """What this store does with requests on which stores differ, as found and logged at start.

    conditional_put: a second PUT with `If-None-Match: *` is refused. Nothing depends on it.
    signed_put: a PUT to a signed URL does what was signed and nothing else. Without it no PUT is signed for others.
    """

    conditional_put: bool
    signed_put: bool


class S3BlobStore:
    """A BlobStore in one bucket, its keys below one prefix.

    Each request waits at most `read_timeout_s` for a connection, for the store to take a part of the body, and for each
    answer or part of one.
    """

    def __init__(self, settings: S3Settings, credentials: S3Credentials, public_endpoint: str) -> None:
        self._prefix = f"{settings.prefix}/" if settings.prefix else ""
        self._client = S3Client(settings, credentials)
        # Signs for others, under the name by which they know the store.
        public = dataclasses.replace(settings, endpoint=public_endpoint)
        self._public = S3Client(public, credentials) if public_endpoint else None
        self._pool = urllib3.PoolManager(
            maxsize=settings.connections,
            block=True,
            retries=False,
            # The first is for sending too, and a store that is writing makes senders wait.
            timeout=urllib3.Timeout(connect=settings.read_timeout_s, read=settings.read_timeout_s),
        )
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
        self._pool.clear()
        self._client.close()
        if self._public:
            self._public.close()

    def _put(self, key: str, data: bytes) -> None:
        response = self._request("PUT", "put_object", key, body=data)
        if response.status != 200:
            raise _refused(response, "a write")
        # Stores have answered 200 to writes of which they kept a part.
        stored = self._size(key)
        if stored != len(data):
            raise storage_unavailable(f"took {len(data)} bytes of {key} and has {stored}")

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
        with self._answer("GET", "get_object", key) as response:
            if response.status != 200:
                response.read(cache_content=True, decode_content=False)
                raise blob_not_found(key) if _is_absence(response) else _refused(response, "a read")
            size_bytes = 0
            for piece in response.stream(PIECE_BYTES, decode_content=False):
                consume(memoryview(piece))
                size_bytes += len(piece)
            return size_bytes

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
        *,
        headers: dict[str, str] | None = None,
        body: bytes | None = None,
    ) -> urllib3.BaseHTTPResponse:
        """The response with its whole body, whatever its status; Unavailable if there is none, or a part of one."""
        with self._answer(method, operation, key, headers=headers, body=body) as response:
            response.read(cache_content=True, decode_content=False)
            return response

    @contextmanager
    def _answer(
        self,
        method: str,
        operation: Operation,
        key: str,
        *,
        headers: dict[str, str] | None = None,
        body: bytes | None = None,
    ) -> Generator[urllib3.BaseHTTPResponse]:
        """The response, its body unread, for the length of the block; what breaks off there is Unavailable too."""
        url = self._client.sign(operation, self._prefix + key, OWN_URL_EXPIRES_S)

        def send() -> urllib3.BaseHTTPResponse:
            return self._pool.request(method, url, headers=headers, body=body, redirect=False, preload_content=False)

        try:
            try:
                response = send()
            except ProtocolError:
                # Mostly a kept connection that the store closed at this moment. Every operation here may be sent twice.
                response = send()
            try:
                yield response
            except BaseException:
                response.close()  # the rest of the body is still on its way
                raise
            finally:
                response.release_conn()
        except HTTPError as error:
            raise storage_unavailable(f"did not answer in full ({type(error).__name__})") from error

    def _probe(self) -> Quirks:
        """Write, read and delete a blob: what fails at start is easier to understand than what fails later."""
        self._client.ensure_bucket()
        key = f"{PROBE_PREFIX}/{uuid.uuid4().hex}"
        try:
            self._put(key, PROBE_DATA)
            if self._get(key, 4, 5) != PROBE_DATA[4:]:
                raise storage_unavailable("does not serve ranges")
            again = self._request("PUT", "put_object", key, headers={"If-None-Match": "*"}, body=PROBE_DATA)
            self._delete(key)
            return Quirks(conditional_put=again.status in (409, 412), signed_put=self._holds_puts(key))
        finally:
            self._delete(key)

    def _holds_puts(self, key: str) -> bool:
        """Only asked where something will be signed."""
        if self._public is None:
            return False
        try:
            return holds_puts_to_their_signature(
                self._client,
                self._pool,
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


def _is_absence(response: urllib3.BaseHTTPResponse) -> bool:
    """Whether the store says that it has no such key: a 404 may as well come from a missing bucket or a proxy."""
    return response.status == 404 and _error_code(response) == "NoSuchKey"


def _refused(response: urllib3.BaseHTTPResponse, what: str) -> Unavailable:
    return storage_unavailable(f"answered {response.status} {_error_code(response)} to {what}")


def _error_code(response: urllib3.BaseHTTPResponse) -> str:
    found = _ERROR_CODE.search(response.data)
    return found[1].decode() if found else ""
