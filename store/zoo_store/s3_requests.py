"""Requests to an object store on signed URLs: each answered in full, in bounded time, and repeated within a budget.

A store that refuses some requests, or a way there that damages some, is asked again, soon and seldom: a request for a
large blob is one of many that a push consists of, and whoever is above could only repeat all of them. A store that
fails altogether is not asked half as often again (docs/adr/0004-s3-access.md).
"""

import random
import threading
import time
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass

import urllib3
from urllib3.exceptions import HTTPError, ProtocolError

from zoo_store.blobs import PIECE_BYTES, storage_unavailable
from zoo_store.s3_client import S3Settings

__all__ = ["Response", "RetryBudget", "S3Requests"]

ATTEMPTS = 5
BACKOFF_FIRST_S = 0.03
# What a store says that has too much to do, is being restarted, or got other bytes than were sent.
PASSING = frozenset({429, 500, 502, 503, 504})
DAMAGED_ON_THE_WAY = b"<Code>BadDigest</Code>"


@dataclass(frozen=True, slots=True)
class Response:
    """The answer to a request, whatever its status; `headers` without regard to case. The body, of `size_bytes`, is
    `data`, unless it was given to somebody else.
    """

    status: int
    headers: Mapping[str, str]
    data: bytes
    size_bytes: int


class RetryBudget:
    """How often may be asked again: once for every two requests, and `burst` times on top. Safe for threads."""

    PER_REQUEST = 0.5

    def __init__(self, burst: int = 100) -> None:
        self._burst = float(burst)
        self._left = self._burst
        self._lock = threading.Lock()

    def earn(self) -> None:
        """A request is made for the first time."""
        with self._lock:
            self._left = min(self._burst, self._left + self.PER_REQUEST)

    def spend(self) -> bool:
        """Whether one may be made again."""
        with self._lock:
            if self._left < 1:
                return False
            self._left -= 1
            return True


class S3Requests:
    """Each waits at most `read_timeout_s` for a connection, for the store to take the body, and for each part of an
    answer, and `answer_timeout_s` for all of it. Methods block.
    """

    def __init__(self, settings: S3Settings) -> None:
        self._answer_timeout_s = settings.answer_timeout_s
        self._budget = RetryBudget()
        self.pool = urllib3.PoolManager(
            maxsize=settings.connections,
            block=True,
            retries=False,
            # The first is for sending too, and a store that is writing makes senders wait.
            timeout=urllib3.Timeout(connect=settings.read_timeout_s, read=settings.read_timeout_s),
        )

    def send(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str] | None = None,
        body: bytes | None = None,
        *,
        attempts: int = ATTEMPTS,
    ) -> Response:
        """The answer, of the last attempt where the store goes on failing. Every request may come to it several times.

        Raises Unavailable STORAGE_UNAVAILABLE where there is none, or a part of one. Silence is not repeated: it took
        its time.
        """
        return self._repeated(lambda: self._whole(method, url, headers, body), attempts)

    def read(self, url: str, consume: Callable[[memoryview], object]) -> Response:
        """As `send` for a GET, but that the body of a 200 is given to `consume` in pieces of at most PIECE_BYTES.

        What breaks off after the first of them is not repeated. What `consume` raises ends it, and is raised.
        """
        consumed = 0

        def once() -> Response:
            nonlocal consumed
            with self._answer("GET", url) as response:
                if response.status != 200:
                    data = response.read(decode_content=False)
                    return Response(response.status, response.headers, data, len(data))
                for piece in response.stream(PIECE_BYTES, decode_content=False):
                    consumed += len(piece)
                    consume(memoryview(piece))
                return Response(200, response.headers, b"", consumed)

        return self._repeated(once, ATTEMPTS, lambda: not consumed)

    def close(self) -> None:
        self.pool.clear()

    def _repeated(
        self, once: Callable[[], Response], attempts: int, may_repeat: Callable[[], bool] = lambda: True
    ) -> Response:
        self._budget.earn()
        for attempt in range(1, attempts + 1):
            try:
                response = once()
            except ProtocolError as error:
                # Mostly a kept connection that the store closed at this moment; or a body that broke off.
                if not may_repeat() or attempt == attempts or not self._budget.spend():
                    raise _no_answer(error) from error
            except HTTPError as error:
                raise _no_answer(error) from error
            else:
                if not _is_passing(response) or attempt == attempts or not self._budget.spend():
                    return response
            # Spread, so that those who failed together do not come back together.
            time.sleep(BACKOFF_FIRST_S * 2 ** (attempt - 1) * random.uniform(0.5, 1.0))  # noqa: S311
        raise AssertionError("the last attempt returns or raises")

    def _whole(self, method: str, url: str, headers: Mapping[str, str] | None, body: bytes | None) -> Response:
        with self._answer(method, url, headers, body) as response:
            data = response.read(decode_content=False)
            return Response(response.status, response.headers, data, len(data))

    @contextmanager
    def _answer(
        self, method: str, url: str, headers: Mapping[str, str] | None = None, body: bytes | None = None
    ) -> Generator[urllib3.BaseHTTPResponse]:
        """The response, its body unread, for the length of the block, or as long as an answer may take."""
        response = self.pool.request(method, url, headers=headers, body=body, redirect=False, preload_content=False)
        overdue = threading.Event()

        def end() -> None:
            overdue.set()
            with suppress(OSError, RuntimeError, ValueError):  # it has just come to its end
                response.shutdown()

        # Nothing else ends a read of a body that trickles: each of its parts comes in time.
        watch = threading.Timer(self._answer_timeout_s, end)
        has_body = response.length_remaining != 0
        if has_body:
            watch.start()
        try:
            yield response
        except BaseException as error:
            response.close()  # the rest of the body is still on its way
            if overdue.is_set() and isinstance(error, HTTPError):
                what = f"did not answer in full within {self._answer_timeout_s:g} s"
                raise storage_unavailable(what) from error
            raise
        finally:
            watch.cancel()
            response.release_conn()


def _is_passing(response: Response) -> bool:
    return response.status in PASSING or (response.status == 400 and DAMAGED_ON_THE_WAY in response.data)


def _no_answer(error: HTTPError) -> Exception:
    return storage_unavailable(f"did not answer in full ({type(error).__name__})")
