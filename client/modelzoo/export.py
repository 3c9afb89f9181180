"""Copies a pulled version into a directory of the user's.

Copies, not links: what a user writes into a directory must not reach the cache. Nothing is written through links that
lie in the directory, or that somebody puts there meanwhile.
"""

import errno
import hashlib
import os
import shutil
import uuid
from collections.abc import Generator, Iterable
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from modelzoo.errors import InvalidArgument, ResourceExhausted
from modelzoo.manifest import File, Manifest

__all__ = ["export"]

COPY_BYTES = 4 * 1024 * 1024


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
    building.mkdir()
    try:
        with _opened(building) as root:
            for file in manifest.files:
                _place(snapshot / file.path, file.path, root)
        building.rename(directory)  # over an empty directory, too
    finally:
        shutil.rmtree(building, ignore_errors=True)


def _export_into(manifest: Manifest, snapshot: Path, directory: Path, force: bool) -> None:
    if not directory.is_dir():
        raise _refused(directory, "is not a directory")
    wanted = [file for file in manifest.files if not _is_there(directory / file.path, file)]
    if not force:
        _refuse_foreign(directory, wanted)
    with _opened(directory) as root:
        for file in wanted:
            _place(snapshot / file.path, file.path, root)


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


@contextmanager
def _opened(directory: Path) -> Generator[int]:
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _place(source: Path, path: str, root: int) -> None:
    """Copy the file to `path` below the open directory, by way of real directories alone; it appears complete."""
    *folders, name = path.split("/")
    with ExitStack() as stack:
        parent = root
        for number, folder in enumerate(folders):
            parent = _enter(folder, parent, "/".join(folders[: number + 1]))
            stack.callback(os.close, parent)
        building = f".{uuid.uuid4().hex}.part"
        try:
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
            with (
                os.fdopen(os.open(building, flags, 0o666, dir_fd=parent), "wb") as target,
                source.open("rb") as content,
            ):
                shutil.copyfileobj(content, target, COPY_BYTES)
            os.replace(building, name, src_dir_fd=parent, dst_dir_fd=parent)
        finally:
            with suppress(FileNotFoundError):
                os.unlink(building, dir_fd=parent)


def _enter(folder: str, parent: int, path: str) -> int:
    with suppress(FileExistsError):
        os.mkdir(folder, dir_fd=parent)
    try:
        return os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=parent)
    except OSError as error:
        if error.errno not in (errno.ELOOP, errno.ENOTDIR):
            raise
        raise _refused(Path(path), "is a link or a file where a directory is wanted; remove it") from error


def _refused(path: Path, why: str) -> InvalidArgument:
    return InvalidArgument("LOCAL_PATH_INVALID", f"{str(path)!a} {why}.", metadata={"path": ascii(str(path))})
