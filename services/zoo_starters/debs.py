"""Debian packages as carriers of data: fetched by pinned hash, never installed, only named files taken out.

Nothing of Debian is needed for that: a package is one file behind plain HTTP, and python-debian reads it anywhere.
"""

import hashlib
import os
import shutil
import urllib.request
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path

from modelzoo.errors import Unavailable

__all__ = ["Deb", "extract", "read_member"]

# Tried in this order. A mirror drops versions that no current release has; the snapshot of a day keeps all of that day.
# Plain HTTP is as good as HTTPS: the hash decides.
MIRRORS = (
    "https://deb.debian.org/debian",
    "http://deb.debian.org/debian",
    "https://snapshot.debian.org/archive/debian/20240101T000000Z",
)
TIMEOUT_S = 60


@dataclass(frozen=True, slots=True)
class Deb:
    """One package of Debian 12; `path` is its file's below a mirror's root, `sha256` is of that file."""

    package: str
    version: str
    sha256: str
    path: str

    @property
    def source(self) -> str:
        return f"debian:{self.package}={self.version}"

    def fetch(self, folder: Path, mirrors: Sequence[str] = MIRRORS) -> Path:
        """The package's file in `folder`, downloaded unless there. Raises Unavailable with what each mirror said."""
        target = folder / Path(self.path).name
        if target.exists() and _sha256(target) == self.sha256:
            return target
        folder.mkdir(parents=True, exist_ok=True)
        said: list[str] = []
        for mirror in mirrors:
            fault = _download(f"{mirror}/{self.path}", target, self.sha256)
            if not fault:
                return target
            said.append(f"{mirror}: {fault}")
        raise Unavailable(
            "DEPENDENCY_UNAVAILABLE",
            f"no mirror gave {self.package} {self.version} ({'; '.join(said)}); check the network and its proxy "
            f"(http_proxy, https_proxy), or place the file yourself at {target}",
        )


def extract(deb: Path, folder: Path, files: Mapping[str, str]) -> None:
    """Copy members of the package into `folder`: `files` maps each member's path, such as `usr/share/x`, to its name.

    Raises KeyError where the package has no such member.
    """
    for name, content in zip(files.values(), _members(deb, files), strict=True):
        target = folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content)


def read_member(deb: Path, member: str) -> bytes:
    """One member of the package. Raises KeyError where there is none of that path."""
    return next(_members(deb, (member,)))


def _members(deb: Path, paths: Iterable[str]) -> Iterator[bytes]:
    from debian.debfile import DebFile  # not for every `zoo --help`

    with DebFile(str(deb)) as archive:
        members = archive.data.tgz()  # whatever its compression is
        for path in paths:
            content = members.extractfile(f"./{path}")
            if content is None:
                raise KeyError(f"{path} in {deb.name} is no file")
            with content:
                yield content.read()


def _download(url: str, target: Path, sha256: str) -> str:
    """Place the file whole and right, or leave nothing and return why."""
    part = target.with_name(f"{target.name}.{os.getpid()}.part")
    try:
        with urllib.request.urlopen(url, timeout=TIMEOUT_S) as response, part.open("wb") as file:  # noqa: S310
            shutil.copyfileobj(response, file)
        found = _sha256(part)
        if found != sha256:
            return f"what it gave has the SHA-256 {found}, not {sha256}"
        part.rename(target)
    except (OSError, HTTPException) as error:
        return str(error) or type(error).__name__
    finally:
        part.unlink(missing_ok=True)
    return ""


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
