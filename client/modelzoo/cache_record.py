"""What the cache remembers of a file that it has verified, so that it need not be read again to be trusted."""

import json
import os
from collections.abc import Generator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from modelzoo.cache_lock import Lock, locked

__all__ = ["Record", "Stamp", "open_record"]


@dataclass(frozen=True, slots=True)
class Stamp:
    """What changes when somebody writes to a file, or replaces it, behind the cache's back."""

    size: int
    inode: int
    mtime_ns: int
    ctime_ns: int

    @classmethod
    def of(cls, status: os.stat_result) -> "Stamp":
        return cls(status.st_size, status.st_ino, status.st_mtime_ns, status.st_ctime_ns)


class Record:
    """The stamp that a file had when its bytes were last known to be right. Its mtime is the time of last use."""

    def __init__(self, path: Path, descriptor: int) -> None:
        self._path = path
        self._descriptor = descriptor

    def says(self, stamp: Stamp) -> bool:
        """Whether this is the stamp that was written; a torn record says so of none."""
        try:
            return json.loads(os.pread(self._descriptor, 1024, 0)) == asdict(stamp)
        except ValueError:
            return False

    def write(self, stamp: Stamp) -> None:
        # A full disk only means that the file is read again next time.
        with suppress(OSError):
            os.ftruncate(self._descriptor, 0)
            os.pwrite(self._descriptor, json.dumps(asdict(stamp)).encode(), 0)

    def touch(self) -> None:
        os.utime(self._descriptor)

    def remove(self) -> None:
        self._path.unlink(missing_ok=True)


@contextmanager
def open_record(path: Path) -> Generator[Record]:
    """The record, empty if there was none, with nobody else at it."""
    with locked(path, os.O_RDWR | os.O_CREAT, Lock.ALONE) as descriptor:
        yield Record(path, descriptor)
