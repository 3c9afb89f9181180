"""Digests of a directory's files, to verify a signature against what is on this machine."""

import hashlib
from collections.abc import Container
from pathlib import Path

from modelzoo.errors import InvalidArgument
from modelzoo.progress import Progress, Silence
from modelzoo.tree import read_tree

__all__ = ["sha256_of_directory"]

CHUNK_BYTES = 4 * 1024 * 1024


def sha256_of_directory(root: Path, left_out: Container[str] = (), progress: Progress | None = None) -> dict[str, str]:
    """SHA-256 by path of what `zoo push` would publish of the directory, but for the paths left out.

    Raises what `read_tree` raises, LOCAL_PATH_INVALID for what cannot be read.
    """
    tree = read_tree(root)
    progress = progress or Silence()
    progress.start(tree.size_bytes)
    digests: dict[str, str] = {}
    for entry in tree.files:
        if entry.path in left_out:
            progress.skip(entry.size)
        else:
            digests[entry.path] = _sha256(tree.source(entry.path), progress)
    return digests


def _sha256(path: Path, progress: Progress) -> str:
    hasher = hashlib.sha256()
    try:
        with path.open("rb") as file:
            while chunk := file.read(CHUNK_BYTES):
                hasher.update(chunk)
                progress.advance(len(chunk))
    except OSError as error:
        raise InvalidArgument("LOCAL_PATH_INVALID", f"{str(path)!a} cannot be read: {error.strerror}.") from error
    return hasher.hexdigest()
