"""Copies a pulled version into a directory of the user's.

Copies, not links: what a user writes into a directory must not reach the cache.
"""

import errno
import hashlib
import os
import shutil
import uuid
from collections.abc import Iterable
from pathlib import Path

from modelzoo.errors import InvalidArgument, ResourceExhausted
from modelzoo.manifest import File, Manifest

__all__ = ["export"]


def export(manifest: Manifest, snapshot: Path, directory: Path, *, force: bool = False) -> None:
    """Leave the manifest's files in `directory`, copied from `snapshot`.

    A directory that is new or empty appears complete or not at all. In another, files with the right content stay as
    they are, and each new one appears complete; LOCAL_PATH_INVALID, before anything is written, if a file of the same
    name has other content, unless `force` replaces it. Files of other names are left alone. DISK_FULL.
    """
    try:
        if not directory.exists() or (directory.is_dir() and not any(directory.iterdir())):
            _export_whole(manifest, snapshot, directory)
        else:
            _export_into(manifest, snapshot, directory, force)
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            message = f"The disk has no room for {manifest.size_bytes} bytes in {str(directory)!a}; nothing is lost."
            raise ResourceExhausted("DISK_FULL", message) from error
        raise _refused(Path(error.filename or directory), f"cannot be written: {error.strerror}") from error


def _export_whole(manifest: Manifest, snapshot: Path, directory: Path) -> None:
    directory.parent.mkdir(parents=True, exist_ok=True)
    building = directory.parent / f".{directory.name}.{uuid.uuid4().hex}.part"
    try:
        for file in manifest.files:
            _copy(snapshot / file.path, building / file.path)
        building.mkdir(exist_ok=True)
        building.rename(directory)  # over an empty directory, too
    finally:
        shutil.rmtree(building, ignore_errors=True)


def _export_into(manifest: Manifest, snapshot: Path, directory: Path, force: bool) -> None:
    if not directory.is_dir():
        raise _refused(directory, "is not a directory")
    wanted = [file for file in manifest.files if not _is_there(directory / file.path, file)]
    if not force:
        _refuse_foreign(directory, wanted)
    root = directory.resolve()
    for file in wanted:
        target = directory / file.path
        if not target.parent.resolve().is_relative_to(root):
            raise _refused(target.parent, "is a link that leaves the directory; remove it")
        building = target.with_name(f".{uuid.uuid4().hex}.part")
        try:
            _copy(snapshot / file.path, building)
            building.replace(target)
        finally:
            building.unlink(missing_ok=True)


def _refuse_foreign(directory: Path, wanted: Iterable[File]) -> None:
    foreign = [file.path for file in wanted if os.path.lexists(directory / file.path)]
    if foreign:
        raise _refused(
            directory / foreign[0],
            f"has other content ({len(foreign)} such files); pull into another directory, or replace them with --force",
        )


def _is_there(path: Path, file: File) -> bool:
    if path.is_symlink() or not path.is_file() or path.stat().st_size != file.size:
        return False
    with path.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest() == file.sha256


def _copy(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(source, target)


def _refused(path: Path, why: str) -> InvalidArgument:
    return InvalidArgument("LOCAL_PATH_INVALID", f"{str(path)!a} {why}.", metadata={"path": ascii(str(path))})
