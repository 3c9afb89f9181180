"""Where a backup lies: a folder whose files are never written in place.

DIR/
  backup.json                          see `record`; written last
  rows/<service>-<SHA-256>.jsonl       see `zoo_store.rows`
  objects/<SHA-256>.jsonl              what lay in the bucket
  blobs/ manifests/                    as in the bucket, docs/reference/storage.md
  lock

Every file but `backup.json` is named by its content, so that one backup may share files with the next, `cp -al` keeps
an older one for nothing, and what broke off has left files that the next one uses or removes. Only the owner can read.
"""

import hashlib
import os
import tempfile
from collections.abc import AsyncIterable, Generator, Iterator
from contextlib import contextmanager
from pathlib import Path

import blake3
from filelock import FileLock, Timeout

from modelzoo.errors import Aborted
from zoo_artifact.keys import blob_of, manifest_of
from zoo_backup.record import Record, parse_record, record_bytes

__all__ = ["Folder", "has_its_name"]

RECORD, LOCK = "backup.json", "lock"
KINDS = ("rows", "objects", "blobs", "manifests")
UNFINISHED = ".unfinished-"


def has_its_name(key: str, data: bytes) -> bool:
    """Whether the bytes of a blob or a manifest are those that its key names."""
    if (digest := blob_of(key)) is not None:
        return blake3.blake3(data).hexdigest() == digest
    return hashlib.sha256(data).hexdigest() == manifest_of(key)


class Folder:
    def __init__(self, path: Path) -> None:
        self.path = path

    @contextmanager
    def locked(self) -> Generator[None]:
        """Be the only one that writes to it or restores from it. Makes it where it is missing. Raises BACKUP_IN_USE."""
        self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
        try:
            with FileLock(self.path / LOCK, timeout=0, mode=0o600):
                yield
        except Timeout:
            raise Aborted("BACKUP_IN_USE", f"another process uses {self.path}: try again after it") from None

    def record(self) -> Record:
        """As `parse_record`."""
        return parse_record(self.path / RECORD)

    def read(self, name: str) -> bytes:
        """Raises FileNotFoundError."""
        return (self.path / name).read_bytes()

    def lines(self, name: str) -> Iterator[bytes]:
        with (self.path / name).open("rb") as file:
            yield from file

    def size(self, name: str) -> int | None:
        try:
            return (self.path / name).stat().st_size
        except FileNotFoundError:
            return None

    def put(self, name: str, data: bytes) -> None:
        """Leave the file whole and on the disk, or not at all."""
        path = self.path / name
        with self._unfinished(path.parent) as (descriptor, unfinished):
            with os.fdopen(descriptor, "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            unfinished.rename(path)
        _sync(path.parent)

    async def put_lines(self, kind: str, prefix: str, lines: AsyncIterable[bytes]) -> tuple[str, str]:
        """Put a file of `kind`, named by its content behind the prefix; its name and its SHA-256."""
        digest = hashlib.sha256()
        parent = self.path / kind
        with self._unfinished(parent) as (descriptor, unfinished):
            with os.fdopen(descriptor, "wb") as file:
                async for line in lines:
                    digest.update(line)
                    file.write(line)
                file.flush()
                os.fsync(file.fileno())
            name = f"{kind}/{prefix}{digest.hexdigest()}.jsonl"
            unfinished.rename(self.path / name)
        _sync(parent)
        return name, digest.hexdigest()

    def finish(self, record: Record, keep: set[str]) -> None:
        """From now on the folder is this backup; then remove every file that it does not name."""
        self.put(RECORD, record_bytes(record))
        for kind in KINDS:
            for path in sorted((self.path / kind).rglob("*")):
                if path.is_file() and path.relative_to(self.path).as_posix() not in keep:
                    path.unlink()

    @contextmanager
    def _unfinished(self, parent: Path) -> Generator[tuple[int, Path]]:
        parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor, name = tempfile.mkstemp(prefix=UNFINISHED, dir=parent)  # for the owner alone
        try:
            yield descriptor, Path(name)
        finally:
            Path(name).unlink(missing_ok=True)


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
