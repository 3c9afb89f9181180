"""Writing for people and for programs: answers on stdout, everything else on stderr."""

import dataclasses
import json
import re
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TextIO, cast

from modelzoo.command.session import wants_json

__all__ = [
    "answer",
    "count_text",
    "counted",
    "json_line",
    "line",
    "note",
    "print_table",
    "safe",
    "short_time",
    "shortened",
    "size_text",
    "write_piece",
]

# What a terminal would obey instead of showing: C0 but tab and line feed, DEL, C1 (which has a one-character CSI).
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")
SHOWN_CHARACTERS = 48
_UNITS = ("B", "kB", "MB", "GB", "TB")
_COUNT_UNITS = ("", "K", "M", "B", "T")


def answer(value: object, show: Callable[[], None]) -> None:
    """The command's answer: `value` as one JSON object if that is wanted, else what `show` prints."""
    if wants_json():
        _write(sys.stdout, json_line(value))
    else:
        show()


def json_line(value: object) -> str:
    """The value as one JSON object in one line, with its end."""
    return json.dumps(_plain(value), ensure_ascii=False) + "\n"


def note(text: str) -> None:
    """A word on the side, to stderr; left out with --json."""
    if not wants_json():
        _write(sys.stderr, safe(text) + "\n")


def line(text: str = "") -> None:
    """A line of the answer, which others' words may be part of."""
    write_piece(f"{text}\n")


def write_piece(text: str) -> None:
    """A piece of the answer, at once. Control characters go to files and pipes, never to a terminal."""
    _write(sys.stdout, safe(text) if sys.stdout.isatty() else text)


def safe(text: str) -> str:
    """The text without what a terminal would obey: names, cards and models' answers are others' words."""
    return _CONTROL.sub("", text)


def print_table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Columns as wide as they need; one line each, so that `grep` and `cut` work on them."""
    from rich.cells import cell_len

    lines = [header, *([" ".join(safe(cell).split()) for cell in row] for row in rows)]
    widths = [max(cell_len(each[column]) for each in lines) for column in range(len(header))]
    for each in lines:
        cells = [cell + " " * (width - cell_len(cell)) for cell, width in zip(each, widths, strict=True)]
        line("  ".join(cells).rstrip())


def size_text(size_bytes: float) -> str:
    """`269 MB`: decimal units, three digits."""
    return _scaled(size_bytes, [f" {unit}" for unit in _UNITS])


def count_text(number: int | None) -> str:
    """`135M`: three digits of a number of parameters, or `-`."""
    return "-" if number is None else _scaled(number, _COUNT_UNITS)


def _scaled(value: float, units: Sequence[str]) -> str:
    power = 0
    while value >= 999.5 and power < len(units) - 1:
        value /= 1000
        power += 1
    digits = 0 if power == 0 or value >= 99.95 else 1
    return f"{value:.{digits}f}{units[power]}"


def counted(number: int, noun: str) -> str:
    """`1 file`, `2 files`."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def short_time(time: datetime | None) -> str:
    """`2026-11-23 19:02` in local time, or `-`."""
    return "-" if time is None else f"{time.astimezone():%Y-%m-%d %H:%M}"


def shortened(text: str) -> str:
    """The text, cut with an ellipsis where it is too long for a column."""
    return text if len(text) <= SHOWN_CHARACTERS else f"{text[: SHOWN_CHARACTERS - 3]}..."


def _plain(value: object) -> Any:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: _plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat().replace("+00:00", "Z")
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, Mapping):
        return {str(name): _plain(item) for name, item in cast(Mapping[object, object], value).items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in cast(Sequence[object], value)]
    return value


def _write(stream: TextIO, text: str) -> None:
    try:
        stream.write(text)
    except UnicodeEncodeError:  # a terminal of another encoding, or a file name that is not UTF-8
        encoding = stream.encoding or "ascii"
        stream.write(text.encode(encoding, "backslashreplace").decode(encoding))
    stream.flush()
