"""What a backup says of itself, in `backup.json`: the one file that makes a folder a backup."""

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from modelzoo.errors import DataLoss, FailedPrecondition, NotFound

__all__ = ["FORMAT", "ObjectsRecord", "Record", "RowsRecord", "parse_record", "record_bytes"]

FORMAT = "zoo-backup/1"


@dataclass(frozen=True, slots=True)
class RowsRecord:
    """The rows of a service's database. `file` is relative to the backup's folder, its SHA-256 hexadecimal."""

    service: str
    revision: str
    file: str
    sha256: str
    counts: dict[str, int]


@dataclass(frozen=True, slots=True)
class ObjectsRecord:
    """The list of what lay in the bucket: a JSON line for each object, with its content where that may change."""

    file: str
    sha256: str
    blobs: int
    manifests: int
    marks: int
    quarantines: int
    size_bytes: int


@dataclass(frozen=True, slots=True)
class Record:
    """`time` (RFC 3339) is when the first row was read; `lacking` what is named and the bucket did not have."""

    id: str
    time: str
    release: str
    rows: tuple[RowsRecord, ...]
    objects: ObjectsRecord
    lacking: tuple[str, ...]

    def rows_of(self, service: str) -> RowsRecord | None:
        return next((rows for rows in self.rows if rows.service == service), None)


RECORDS = TypeAdapter(Record)


def record_bytes(record: Record) -> bytes:
    content = RECORDS.dump_python(record, mode="json")
    return json.dumps({"format": FORMAT, "sha256": _digest(content), "record": content}, indent=1).encode() + b"\n"


def parse_record(path: Path) -> Record:
    """Raises BACKUP_NOT_FOUND where no backup came to its end, BACKUP_DAMAGED, BACKUP_TOO_NEW."""
    try:
        found = json.loads(path.read_bytes())
        known, content, sha256 = found["format"] == FORMAT, found["record"], found["sha256"]
    except FileNotFoundError:
        raise NotFound(
            "BACKUP_NOT_FOUND", f"{path.parent} holds no backup that came to its end: run `zoo backup` again"
        ) from None
    except (ValueError, KeyError, TypeError):
        raise _damaged(path) from None
    if not known:
        raise FailedPrecondition("BACKUP_TOO_NEW", f"{path} has another format than {FORMAT}: use a newer release")
    if _digest(content) != sha256:
        raise _damaged(path)
    try:
        return RECORDS.validate_python(content, strict=False)
    except ValidationError:
        raise _damaged(path) from None


def _digest(content: object) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def _damaged(path: Path) -> DataLoss:
    return DataLoss("BACKUP_DAMAGED", f"{path} is not what was written: take another copy of the backup")
