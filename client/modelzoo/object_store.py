"""HTTP to an object store by URLs that the artifact service signed, past the proxies of the environment.

A store that cannot be reached, or keeps failing, is left alone by the whole process for OFF_S: callers go through the
service instead. Finding that out takes at most PROBE_TIMEOUT_S, and no longer for many threads than for one.
"""

import http.client
import threading
import time
from collections.abc import Iterable, Iterator, Mapping
from enum import Enum
from urllib.parse import SplitResult, urlsplit

__all__ = ["Failure", "StoreConnection", "StoreFailed", "is_off", "turn_off", "turn_on"]

CHUNK_BYTES = 1024 * 1024
PROBE_TIMEOUT_S = 2.0  # until the store has answered this process once
ANSWER_TIMEOUT_S = 10.0
OFF_S = 600.0

_lock = threading.Lock()
_off_until: dict[str, float] = {}
_answered: set[str] = set()


class Failure(Enum):
    """Why the store did not do it."""

    UNREACHABLE = "no connection, no TLS, no answer in time"
    REFUSED = "403: the URL has expired, or is not good for this"
    BROKEN = "an answer of 5xx, or one that broke off"
    WRONG = "another answer than any that makes sense"


class StoreFailed(Exception):
    def __init__(self, failure: Failure, message: str) -> None:
        super().__init__(message)
        self.failure = failure


def is_off(url: str) -> bool:
    """Whether the store of this URL is left alone at present."""
    with _lock:
        return _off_until.get(urlsplit(url).netloc, 0.0) > time.monotonic()


def turn_off(url: str) -> None:
    with _lock:
        _off_until[urlsplit(url).netloc] = time.monotonic() + OFF_S
        _answered.discard(urlsplit(url).netloc)


def turn_on(url: str) -> None:
    """Take back `turn_off`."""
    with _lock:
        _off_until.pop(urlsplit(url).netloc, None)


class StoreConnection:
    """One connection to one store at a time, kept between requests. For one thread; `close` it."""

    def __init__(self) -> None:
        self._connection: http.client.HTTPConnection | None = None
        self._netloc = ""

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def get(self, url: str, offset: int, size: int) -> Iterator[memoryview]:
        """Bytes `offset` to `size` of an object of that size, in pieces that are overwritten by the next one.

        Raises StoreFailed, also where fewer came; what was given before that stands.
        """
        headers = {"Accept-Encoding": "identity"} | ({"Range": f"bytes={offset}-{size - 1}"} if offset else {})
        response = self._answer("GET", url, headers, None)
        left = size - offset
        if response.status != (206 if offset else 200) or response.length != left:
            response.close()
            self.close()
            raise _failed(response.status)
        buffer = memoryview(bytearray(min(CHUNK_BYTES, left)))
        while left:
            try:
                count = response.readinto(buffer[: min(len(buffer), left)])
            except (OSError, http.client.HTTPException) as error:
                self.close()
                raise _broken(error, "an answer broke off") from error
            if not count:
                self.close()
                raise StoreFailed(Failure.BROKEN, "an answer broke off")
            left -= count
            try:
                yield buffer[:count]
            except GeneratorExit:
                self.close()
                raise
        response.read()

    def put(self, url: str, headers: Mapping[str, str], chunks: Iterable[bytes]) -> bool:
        """Send the body; True where it was taken, False where there is an object already. Or StoreFailed.

        What `chunks` raises is raised, and the store has got no whole body.
        """
        response = self._answer("PUT", url, headers, chunks)
        response.read()
        if response.status not in (200, 412):
            self.close()
            raise _failed(response.status)
        return response.status == 200

    def _answer(
        self, method: str, url: str, headers: Mapping[str, str], body: Iterable[bytes] | None
    ) -> http.client.HTTPResponse:
        parts = urlsplit(url)
        kept = self._connection is not None and self._netloc == parts.netloc
        connection = self._connected(parts)
        try:
            connection.putrequest(method, f"{parts.path}?{parts.query}", skip_accept_encoding=True)
            for name, value in headers.items():
                connection.putheader(name, value)
            connection.endheaders()
        except (OSError, http.client.HTTPException) as error:
            self.close()
            if kept:  # the store had closed it meanwhile
                return self._answer(method, url, headers, body)
            raise StoreFailed(Failure.UNREACHABLE, f"no connection ({type(error).__name__})") from error
        whole = False
        try:
            for chunk in body or ():
                connection.send(chunk)
            whole = True
            response = connection.getresponse()
        except (OSError, http.client.HTTPException) as error:
            raise _broken(error, "no answer") from error
        finally:
            if not whole or connection.sock is None:
                self.close()
        with _lock:
            _answered.add(parts.netloc)
        if connection.sock is not None:
            connection.sock.settimeout(ANSWER_TIMEOUT_S)
        return response

    def _connected(self, parts: SplitResult) -> http.client.HTTPConnection:
        if self._connection is None or self._netloc != parts.netloc:
            self.close()
            kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
            timeout_s = ANSWER_TIMEOUT_S if parts.netloc in _answered else PROBE_TIMEOUT_S
            self._connection = kind(parts.netloc, timeout=timeout_s)
            self._netloc = parts.netloc
        return self._connection


def _broken(error: Exception, what: str) -> StoreFailed:
    # Who is silent once is not waited for again.
    failure = Failure.UNREACHABLE if isinstance(error, TimeoutError) else Failure.BROKEN
    return StoreFailed(failure, f"{what} ({type(error).__name__})")


def _failed(status: int) -> StoreFailed:
    kinds = {401: Failure.REFUSED, 403: Failure.REFUSED}
    failure = kinds.get(status, Failure.BROKEN if status >= 500 else Failure.WRONG)
    return StoreFailed(failure, f"the object store answered {status}")
