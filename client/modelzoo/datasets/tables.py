"""Rows of text files, each a mapping from column to value; what cannot be read is told by its line."""

import csv
import io
import json
from collections.abc import Iterator, Mapping
from pathlib import PurePosixPath
from typing import Any, BinaryIO, NoReturn, cast

from modelzoo.datasets.layout import dataset_invalid
from modelzoo.datasets.rows import Faults

__all__ = ["Row", "csv_rows", "jsonl_rows", "numbered_rows"]

ROW_BYTES_MAX = 16 * 1024 * 1024
BOM = b"\xef\xbb\xbf"

Row = Mapping[str, Any]


def numbered_rows(path: str, file: BinaryIO, faults: Faults) -> Iterator[tuple[int, Row]]:
    """The rows of a text file, CSV or JSON lines as its name says, each with the number of its last line."""
    suffix = PurePosixPath(path).suffix.lower()
    if suffix in (".csv", ".tsv"):
        return _numbered_csv(path, file, "\t" if suffix == ".tsv" else ",", faults)
    return _numbered_jsonl(path, file, faults)


def jsonl_rows(path: str, file: BinaryIO, faults: Faults) -> Iterator[Row]:
    """The objects of the lines that are not blank. Numbers have to be finite, keys different, text UTF-8."""
    return (row for _, row in _numbered_jsonl(path, file, faults))


def csv_rows(path: str, file: BinaryIO, delimiter: str, faults: Faults) -> Iterator[Row]:
    """The rows below the line of names, as many values in each as there are names: strings, or None for nothing."""
    return (row for _, row in _numbered_csv(path, file, delimiter, faults))


def _numbered_jsonl(path: str, file: BinaryIO, faults: Faults) -> Iterator[tuple[int, Row]]:
    for number, line in enumerate(_lines(path, file), 1):
        data = line.removeprefix(BOM) if number == 1 else line
        if not data.strip():
            continue
        try:
            row: Any = json.loads(data, parse_constant=_refuse_constant, object_pairs_hook=_without_repetition)
        except UnicodeDecodeError:
            faults.add(path, number, "it is not UTF-8")
        except json.JSONDecodeError as error:
            faults.add(path, number, f"it is not JSON at character {error.pos + 1}: {error.msg}")
        except (ValueError, RecursionError) as error:
            faults.add(path, number, f"it is not JSON: {error}")
        else:
            if isinstance(row, dict):
                yield number, cast(dict[str, Any], row)
            else:
                faults.add(path, number, "it is not an object")


def _numbered_csv(path: str, file: BinaryIO, delimiter: str, faults: Faults) -> Iterator[tuple[int, Row]]:
    text = io.TextIOWrapper(io.BufferedReader(_Bounded(path, file)), encoding="utf-8-sig", newline="")
    csv.field_size_limit(ROW_BYTES_MAX)  # the module's own is for all of the process, and 128 KiB
    rows = csv.reader(text, delimiter=delimiter, strict=True)
    names: list[str] | None = None
    try:
        for values in rows:
            if not values:
                continue
            if names is None:
                names = _checked_names(path, values)
            elif len(values) != len(names):
                faults.add(path, rows.line_num, f"it has {len(values)} values, and the first line {len(names)} names")
            else:
                yield rows.line_num, {name: value or None for name, value in zip(names, values, strict=True)}
    except UnicodeDecodeError:
        # Decoding runs ahead in blocks: the line is not known.
        raise dataset_invalid(f"{path} is not UTF-8, somewhere after line {rows.line_num}: convert it") from None
    except csv.Error as error:
        raise dataset_invalid(f"{path}, line {rows.line_num}: {error}; quotes in a value are doubled") from error


def _checked_names(path: str, names: list[str]) -> list[str]:
    repeated = sorted({name for name in names if names.count(name) > 1})
    if repeated:
        raise dataset_invalid(f"{path} has several columns called {', '.join(map(repr, repeated[:5]))}: rename them")
    if "" in names:
        raise dataset_invalid(f"{path} has a column without a name in its first line: name it")
    return names


def _lines(path: str, file: BinaryIO) -> Iterator[bytes]:
    number = 0
    while line := file.readline(ROW_BYTES_MAX + 1):
        number += 1
        if len(line) > ROW_BYTES_MAX:
            raise dataset_invalid(
                f"{path}, line {number}: it is over {ROW_BYTES_MAX} bytes; keep files beside the rows"
            )
        yield line


class _Bounded(io.RawIOBase):
    """The file, with lines that are bounded; what a line without an end would do to memory is not tried."""

    def __init__(self, path: str, file: BinaryIO) -> None:
        self._lines = _lines(path, file)
        self._rest = b""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        if not self._rest:
            self._rest = next(self._lines, b"")
        count = min(len(buffer), len(self._rest))
        buffer[:count] = self._rest[:count]
        self._rest = self._rest[count:]
        return count


def _refuse_constant(word: str) -> NoReturn:
    raise ValueError(f"{word} is no number of JSON's")


def _without_repetition(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    row = dict(pairs)
    if len(row) < len(pairs):
        raise ValueError("a key comes twice")
    return row
