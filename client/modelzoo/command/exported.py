"""A file of JSON Lines that the log of changes is exported to, from where it ends."""

import json
import os
from collections.abc import Generator, Iterable
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING

from modelzoo.command.terminal import json_line

if TYPE_CHECKING:
    from modelzoo.records import Change

__all__ = ["Export", "continued"]

# Longer than any line.
TAIL_BYTES = 16 * 1024 * 1024
BEGINNING = b'{"sequence": '


class Export:
    """`cursor` is the sequence of the file's last change, 0 where it has none."""

    def __init__(self, file: IO[bytes], cursor: int) -> None:
        self.cursor = cursor
        self._file = file

    def append(self, changes: "Iterable[Change]") -> int:
        """Write them, each at once; how many there were."""
        count = 0
        for change in changes:
            self._file.write(json_line(change).encode("utf-8", "backslashreplace"))
            self._file.flush()
            count += 1
        return count


@contextmanager
def continued(path: Path) -> Generator[Export]:
    """The file, made if it is not there; half a line at its end, which a broken export left, is cut off.

    LOCAL_PATH_INVALID where it cannot be written, or ends with what is no change; it is left as it is then.
    """
    from modelzoo.errors import InvalidArgument

    try:
        with path.open("ab+") as file:
            yield Export(file, _cut_and_read(file))
            os.fsync(file.fileno())
    except OSError as error:
        raise InvalidArgument("LOCAL_PATH_INVALID", f"{str(path)!a} cannot be written: {error.strerror}.") from error
    except _NotAnExport as error:
        raise InvalidArgument(
            "LOCAL_PATH_INVALID", f"{str(path)!a} does not end with a change: name another file."
        ) from error


class _NotAnExport(Exception):
    """The file holds something else."""


def _cut_and_read(file: IO[bytes]) -> int:
    size = file.seek(0, os.SEEK_END)
    start = max(0, size - TAIL_BYTES)
    file.seek(start)
    whole, newline, half = file.read().rpartition(b"\n")
    if not half.startswith(BEGINNING[: len(half)]) or (start and not newline):
        raise _NotAnExport
    cursor = _sequence(whole.rpartition(b"\n")[2]) if newline else 0
    file.truncate(size - len(half))
    return cursor


def _sequence(line: bytes) -> int:
    try:
        return int(json.loads(line)["sequence"])
    except (ValueError, KeyError, TypeError) as error:
        raise _NotAnExport from error
