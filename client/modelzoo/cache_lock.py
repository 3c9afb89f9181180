"""Locks on files that are renamed and removed while others wait for them.

A lock belongs to the open file, so the operating system lets go of it when its holder dies, however it dies. Threads
of one process exclude each other too, as each opens the file for itself.
"""

import fcntl
import os
from collections.abc import Generator
from contextlib import contextmanager
from enum import IntEnum
from pathlib import Path

__all__ = ["Lock", "is_named", "locked", "open_locked"]


class Lock(IntEnum):
    """How to lock: beside others who share, alone, or alone if that is possible at once."""

    SHARED = fcntl.LOCK_SH
    ALONE = fcntl.LOCK_EX
    ALONE_NOW = fcntl.LOCK_EX | fcntl.LOCK_NB


def open_locked(path: Path, flags: int, lock: Lock) -> int:
    """A locked descriptor of the file that `path` names once the lock is held; closing it unlocks.

    Raises FileNotFoundError (unless `flags` create it), and BlockingIOError where ALONE_NOW is not possible.
    """
    while True:
        descriptor = os.open(path, flags | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        try:
            fcntl.flock(descriptor, lock)
            if is_named(path, descriptor):
                return descriptor
        except BaseException:
            os.close(descriptor)
            raise
        # It was removed or renamed while this one waited: the lock is on a file nobody will find.
        os.close(descriptor)


@contextmanager
def locked(path: Path, flags: int, lock: Lock) -> Generator[int]:
    """`open_locked` for the length of a block."""
    descriptor = open_locked(path, flags, lock)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def is_named(path: Path, descriptor: int) -> bool:
    """Whether `path` still names the open file."""
    try:
        return os.path.samestat(os.stat(path, follow_symlinks=False), os.fstat(descriptor))
    except FileNotFoundError:
        return False
