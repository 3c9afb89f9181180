"""What the cache remembers of a file that it has verified, so that it need not be read again to be trusted.

A file that is not yet synced is remembered together with the boot of the machine: once that has ended, by a power cut
perhaps, nothing says that the bytes reached the disk, and the file is read again.
"""

import json
import os
import uuid
from collections.abc import Generator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import cast

from modelzoo.cache_lock import Lock, locked

__all__ = ["Record", "Stamp", "open_record"]

BOOT = "boot"
BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


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
        """Whether this is the stamp that was written, and still means something; a torn record says so of none."""
        found = self._read()
        return found.pop(BOOT, _boot()) == _boot() and found == asdict(stamp)

    def write(self, stamp: Stamp, *, is_synced: bool = True) -> None:
        """Remember the stamp; of a file that is not synced, as long as the machine runs."""
        written = asdict(stamp) | ({} if is_synced else {BOOT: _boot()})
        # A full disk only means that the file is read again next time.
        with suppress(OSError):
            os.ftruncate(self._descriptor, 0)
            os.pwrite(self._descriptor, json.dumps(written).encode(), 0)

    def restamp(self, stamp: Stamp) -> None:
        """Remember another stamp of the same bytes, synced or not as before."""
        self.write(stamp, is_synced=BOOT not in self._read())

    def _read(self) -> dict[str, object]:
        try:
            found: object = json.loads(os.pread(self._descriptor, 1024, 0))
        except ValueError:
            return {}
        return cast(dict[str, object], found) if isinstance(found, dict) else {}

    def touch(self) -> None:
        os.utime(self._descriptor)

    def remove(self) -> None:
        self._path.unlink(missing_ok=True)


@contextmanager
def open_record(path: Path) -> Generator[Record]:
    """The record, empty if there was none, with nobody else at it."""
    with locked(path, os.O_RDWR | os.O_CREAT, Lock.ALONE) as descriptor:
        yield Record(path, descriptor)


@cache
def _boot() -> str:
    """What names this run of the machine; of one that has no name for it, this run of the process."""
    try:
        return BOOT_ID.read_text().strip()
    except OSError:
        return f"process {uuid.uuid4().hex}"
