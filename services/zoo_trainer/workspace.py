"""Folders of attempts below one folder that the agents of a node share; those of agents that died are removed."""

import fcntl
import os
import shutil
from collections.abc import Generator
from contextlib import contextmanager, suppress
from pathlib import Path

__all__ = ["Workspace"]

LOCK = ".lock"


class Workspace:
    """A folder of this agent's own, as long as it lives."""

    def __init__(self, root: Path, name: str) -> None:
        root.mkdir(parents=True, exist_ok=True)
        with _alone(root):
            for other in root.iterdir():
                _remove_if_dead(other)
            self._folder = root / name
            self._folder.mkdir(mode=0o700)
            # Held by this process, and let go by the kernel with it.
            self._lock = os.open(self._folder / LOCK, os.O_RDWR | os.O_CREAT, 0o600)
            fcntl.flock(self._lock, fcntl.LOCK_EX)

    @contextmanager
    def folder(self, name: str) -> Generator[Path]:
        """An empty folder, gone after the block."""
        folder = self._folder / name
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(mode=0o700)
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def close(self) -> None:
        shutil.rmtree(self._folder, ignore_errors=True)
        os.close(self._lock)


@contextmanager
def _alone(root: Path) -> Generator[None]:
    """In the block, nobody else comes here: a folder whose lock is just being made would look like a dead one's."""
    descriptor = os.open(root, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _remove_if_dead(folder: Path) -> None:
    with suppress(OSError):
        lock = os.open(folder / LOCK, os.O_RDWR)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(folder, ignore_errors=True)
        finally:
            os.close(lock)
