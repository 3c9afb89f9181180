"""What the processes print: into a file each, rotated, and prefixed to the terminal of whoever runs the cluster."""

import json
import os
import sys
from collections import deque
from contextlib import suppress
from pathlib import Path
from typing import Any, BinaryIO, TextIO

__all__ = ["Console", "ProcessLog", "readable"]

ROTATE_BYTES = 10 * 1024 * 1024
KEPT_FILES = 2
TAIL_LINES = 20
LINE_MOST_BYTES = 64 * 1024
COLOURS = (36, 32, 33, 35, 34, 96, 92, 93, 95, 94)


class Console:
    """Prints what is said as `name | line`, line by line, in a colour for each name where the stream is a terminal."""

    def __init__(self, stream: TextIO | None = None) -> None:
        self._stream = stream or sys.stdout
        self._colours: dict[str, int] = {}
        self._coloured = self._stream.isatty() and "NO_COLOR" not in os.environ

    def print(self, name: str, text: str) -> None:
        prefix = f"{name:<9} | "
        if self._coloured:
            colour = self._colours.setdefault(name, COLOURS[len(self._colours) % len(COLOURS)])
            prefix = f"\x1b[{colour}m{prefix}\x1b[0m"
        with suppress(OSError, ValueError):  # whoever read it has gone; the files still have it
            self._stream.write("".join(f"{prefix}{line}\n" for line in text.splitlines() or [""]))
            self._stream.flush()


class ProcessLog:
    """The output of one process: all of it in a file, its last lines in memory.

    A full disk loses output rather than ending the cluster.
    """

    def __init__(self, name: str, path: Path, console: Console | None, rotate_bytes: int = ROTATE_BYTES) -> None:
        self._name = name
        self._path = path
        self._console = console
        self._rotate_bytes = rotate_bytes
        self._file: BinaryIO = path.open("ab")
        self._unfinished = b""
        self._tail: deque[str] = deque(maxlen=TAIL_LINES)

    def write(self, output: bytes) -> None:
        """Take what the process printed, cut anywhere."""
        *lines, self._unfinished = (self._unfinished + output).split(b"\n")
        if len(self._unfinished) > LINE_MOST_BYTES:
            lines.append(self._unfinished)
            self._unfinished = b""
        for line in lines:
            self._write_line(line)

    def note(self, sentence: str) -> None:
        """Say something about the process, among its own lines."""
        self._write_line(f"-- {sentence}".encode())

    def tail(self) -> list[str]:
        return list(self._tail)

    def close(self) -> None:
        if self._unfinished:
            self._write_line(self._unfinished)
        self._file.close()

    def _write_line(self, line: bytes) -> None:
        text = line.decode(errors="replace")
        self._tail.append(readable(text))
        with suppress(OSError):
            self._file.write(line + b"\n")
            self._file.flush()
            if self._file.tell() > self._rotate_bytes:
                self._rotate()
        if self._console is not None:
            self._console.print(self._name, readable(text))

    def _rotate(self) -> None:
        self._file.close()
        for number in range(KEPT_FILES, 0, -1):
            older = self._path.with_suffix(f".log.{number}")
            newer = self._path if number == 1 else self._path.with_suffix(f".log.{number - 1}")
            if newer.exists():
                newer.replace(older)
        self._file = self._path.open("ab")


def readable(line: str) -> str:
    """A line for people: of a JSON log record its time, level, message and exception; any other line as it is."""
    if not line.startswith("{"):
        return line
    try:
        record: dict[str, Any] = json.loads(line)
    except ValueError:
        return line
    if "message" not in record:
        return line
    exception = f"\n{record['exception']}" if "exception" in record else ""
    return f"{str(record.get('time', ''))[11:19]} {record.get('level', '')} {record['message']}{exception}"
