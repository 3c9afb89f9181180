"""Fetches published files over HTTP: resumed where they broke off, kept only with the digest that was published."""

import hashlib
import http.client
import os
import threading
import urllib.error
import urllib.request
from collections.abc import Generator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from filelock import FileLock

from modelzoo.attempts import Attempts
from modelzoo.errors import DataLoss, InvalidArgument, NotFound, OutOfRange, PermissionDenied, Unavailable, ZooError
from modelzoo.progress import Progress

__all__ = ["Digest", "Remote", "fetch", "open_url", "size_of"]

TIMEOUT_S = 60.0
READ_BYTES = 1024 * 1024
FILE_BYTES_MAX = 1 << 40  # where nobody has published a size


@dataclass(frozen=True, slots=True)
class Digest:
    """A published digest: a `sha256`, perhaps only its first digits, or a git blob's `git-sha1`. Hexadecimal."""

    algorithm: str
    value: str

    def fits(self, path: Path) -> bool:
        """Whether the file has it."""
        # Git's identity of a file (git-scm.com/book, "Git Objects"): not for security, but what is published.
        hasher = hashlib.sha256() if self.algorithm == "sha256" else hashlib.sha1(usedforsecurity=False)
        if self.algorithm == "git-sha1":
            hasher.update(b"blob %d\0" % path.stat().st_size)
        with path.open("rb") as file:
            while piece := file.read(READ_BYTES):
                hasher.update(piece)
        return hasher.hexdigest().startswith(self.value)


@dataclass(frozen=True, slots=True)
class Remote:
    """A file of a given digest at a URL, of so many bytes at most. The token goes to the URL's own host, not where that
    redirects to."""

    url: str
    digest: Digest
    token: str | None = None
    at_most: int = FILE_BYTES_MAX


def fetch(remote: Remote, target: Path, progress: Progress) -> None:
    """Leave the remote file in `target`, fetched unless it is there. `progress` hears of its bytes; not its `start`.

    Another process that fetches the same waits for this one. What came before a break stays, hidden, for the
    next attempt. Raises DOWNLOAD_CORRUPT, and keeps nothing, where the bytes do not have the digest; SOURCE_NOT_FOUND,
    SOURCE_ACCESS_DENIED, SOURCE_UNAVAILABLE.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(target.with_name(f".{target.name}.lock")):
        if target.is_file() and remote.digest.fits(target):
            progress.skip(target.stat().st_size)
            return
        part = target.with_name(f".{target.name}.part")
        was_resumed = part.exists()
        try:
            _complete(remote, part, progress)
        except DataLoss:
            _forget(part, progress)
            raise
        if was_resumed and not remote.digest.fits(part):
            # The file may have changed at its address since the first half came.
            _forget(part, progress)
            _complete(remote, part, progress)
        if not remote.digest.fits(part):
            _forget(part, progress)
            raise DataLoss(
                "DOWNLOAD_CORRUPT",
                f"What {remote.url} gave does not have its published digest {remote.digest.value}; nothing was kept. "
                "Try again, and ask who runs the mirror or proxy between if it happens again.",
                metadata={"url": remote.url},
            )
        part.replace(target)


def size_of(url: str) -> int:
    """The length in bytes that the server says, 0 where it does not. Raises what `fetch` does of the server's."""
    with open_url(url, method="HEAD") as response:
        return int(response.headers.get("Content-Length") or 0)


@contextmanager
def open_url(
    url: str, *, method: str = "GET", token: str | None = None, offset: int = 0
) -> Generator[http.client.HTTPResponse]:
    """The response to a request for the bytes from `offset` on, which the server may ignore: then its status is 200."""
    if not url.startswith(("https://", "http://")):
        raise InvalidArgument("FIELD_INVALID", f"{url!a} is no address of a file to fetch: it begins with https://.")
    request = urllib.request.Request(url, method=method, headers={"User-Agent": "modelzoo"})  # noqa: S310 - checked
    if offset:
        request.add_header("Range", f"bytes={offset}-")
    if token:
        request.add_unredirected_header("Authorization", f"Bearer {token}")
    try:
        with urllib.request.urlopen(request, timeout=TIMEOUT_S) as response:  # noqa: S310 - checked above
            yield response
    except urllib.error.HTTPError as error:
        with error:
            raise _refused(url, error) from error
    # What urllib and http.client raise for names, connections, TLS and answers that break off.
    except (urllib.error.URLError, http.client.HTTPException, ConnectionError, TimeoutError) as error:
        raise _unavailable(url, str(getattr(error, "reason", error)) or type(error).__name__) from error


def _complete(remote: Remote, part: Path, progress: Progress) -> None:
    """Bring `part` to the length that the server says the file has, going on after breaks."""
    attempts = Attempts(threading.Event())
    size = part.stat().st_size if part.exists() else 0
    progress.skip(size)
    with part.open("ab") as file:
        while True:
            before = file.tell()
            try:
                _append(remote, file, progress)
                return
            except Unavailable as error:
                if file.tell() > before:
                    attempts.progressed()
                elif not before:
                    raise
                attempts.wait_after(error)


def _append(remote: Remote, file: BinaryIO, progress: Progress) -> None:
    offset = file.seek(0, os.SEEK_END)
    with suppress(OutOfRange), open_url(remote.url, token=remote.token, offset=offset) as response:
        if offset and response.status != http.HTTPStatus.PARTIAL_CONTENT:
            file.truncate(0)
            progress.advance(-offset)
        while piece := response.read(READ_BYTES):
            if file.tell() + len(piece) > remote.at_most:
                message = (
                    f"{remote.url} gives more than the {remote.at_most} bytes that were published; nothing was kept."
                )
                raise DataLoss("DOWNLOAD_CORRUPT", message, metadata={"url": remote.url})
            file.write(piece)
            progress.advance(len(piece))
        # http.client tells a break from an end only by what is left of Content-Length.
        if response.length:
            raise _unavailable(remote.url, f"the connection ended {response.length} bytes too early")


def _forget(part: Path, progress: Progress) -> None:
    progress.advance(-part.stat().st_size)
    part.unlink()


def _refused(url: str, error: urllib.error.HTTPError) -> ZooError:
    if error.code in (http.HTTPStatus.UNAUTHORIZED, http.HTTPStatus.FORBIDDEN):
        return PermissionDenied(
            "SOURCE_ACCESS_DENIED",
            f"{url} is not open to you ({error.code}): accept the model's conditions on its page, and set HF_TOKEN.",
        )
    if error.code in (http.HTTPStatus.NOT_FOUND, http.HTTPStatus.GONE):
        return NotFound("SOURCE_NOT_FOUND", f"There is nothing at {url} ({error.code}).")
    if error.code == http.HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
        return OutOfRange("RANGE_INVALID", f"{url} has no more bytes than came before.")
    return _unavailable(url, f"{error.code} {error.reason}")


def _unavailable(url: str, why: str) -> Unavailable:
    return Unavailable(
        "SOURCE_UNAVAILABLE", f"{url} could not be fetched: {why}. Run it again: it goes on where it was."
    )
