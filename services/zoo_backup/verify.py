"""Whether a backup is what it was when it was made: every byte of it, without a cluster."""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass

from modelzoo.errors import DataLoss
from zoo_backup.folder import Folder, has_its_name
from zoo_backup.listing import Listing, lacking
from zoo_backup.make import Told
from zoo_backup.record import Record

__all__ = ["Verified", "require_sound", "verify_backup"]

EVERY = 200
SHOWN = 5


@dataclass(frozen=True, slots=True)
class Verified:
    """`faults` are sentences, each about one file; none: the backup is what it was."""

    record: Record
    faults: tuple[str, ...]
    read_bytes: int


def verify_backup(folder: Folder, told: Told) -> Verified:
    """Blocks while it reads. Raises BACKUP_NOT_FOUND, BACKUP_TOO_NEW, BACKUP_DAMAGED where `backup.json` is."""
    record = folder.record()
    faults: list[str] = []
    read_bytes = 0
    for file, sha256 in [(rows.file, rows.sha256) for rows in record.rows] + [
        (record.objects.file, record.objects.sha256)
    ]:
        try:
            data = folder.read(file)
        except FileNotFoundError:
            faults.append(f"{file} is gone")
            continue
        read_bytes += len(data)
        if hashlib.sha256(data).hexdigest() != sha256:
            faults.append(f"{file} is damaged")
    if faults:  # without the list there is nothing to compare with
        return Verified(record, tuple(faults), read_bytes)
    listing = Listing.from_lines(folder.lines(record.objects.file))
    for number, (key, size) in enumerate(listing.content.items()):
        if number % EVERY == 0:
            told(f"{number} of {len(listing.content)} objects read")
        fault = _fault(folder, key, size)
        read_bytes += size
        if fault:
            faults.append(fault)
    faults += _unexpected(listing, folder, record)
    return Verified(record, tuple(faults), read_bytes)


def require_sound(verified: Verified) -> Record:
    """Raises BACKUP_DAMAGED unless it is what it was."""
    if verified.faults:
        shown = "; ".join(verified.faults[:SHOWN])
        raise DataLoss(
            "BACKUP_DAMAGED",
            f"the backup is damaged: {shown}. Nothing was restored. Take another copy of it, or remove these files and "
            "run `zoo backup` once more while the bucket still has them",
            metadata={"faults": str(len(verified.faults))},
        )
    return verified.record


def _fault(folder: Folder, key: str, size: int) -> str:
    try:
        data = folder.read(key)
    except FileNotFoundError:
        return f"{key} is gone"
    if len(data) != size or not has_its_name(key, data):
        return f"{key} is damaged"
    return ""


def _unexpected(listing: Listing, folder: Folder, record: Record) -> Iterator[str]:
    """What marks name and is not there, but for what the record says was lacking from the beginning."""
    yield from (sentence for sentence in lacking(listing, folder, ()) if sentence not in record.lacking)
