"""Which files of a local directory are pushed, and whether they are still what they were.

Hidden files and directories (their name begins with a dot: `.git`, `.cache`, `.DS_Store`) are left out. A link to a
file inside the directory is pushed as that file. Links that leave the directory, links to directories, and what is
neither file nor directory are refused: the one who receives the version could not have them. Empty directories are
not kept.
"""

import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from modelzoo.errors import InvalidArgument
from modelzoo.paths import check_paths

__all__ = ["Entry", "Tree", "check_unchanged", "read_tree"]


@dataclass(frozen=True, slots=True)
class Entry:
    """A file as it was found; `path` is relative with `/`. Equal entries mean that nobody wrote to the file since."""

    path: str
    size: int
    mtime_ns: int
    inode: int


@dataclass(frozen=True, slots=True)
class Tree:
    """A directory's files by path, and the hidden names that were left out."""

    root: Path
    files: tuple[Entry, ...]
    skipped: tuple[str, ...]

    @property
    def size_bytes(self) -> int:
        return sum(entry.size for entry in self.files)

    def source(self, path: str) -> Path:
        """Where the file lies on this machine."""
        return self.root / path


def read_tree(root: Path) -> Tree:
    """The files below `root`. LOCAL_PATH_INVALID where it is no directory, is empty, or holds what cannot be pushed;
    PATH_INVALID or PATH_DUPLICATE for names that not every machine could write."""
    if not root.is_dir():
        raise _invalid(root, "is not a directory" if root.exists() else "does not exist")
    files: list[Entry] = []
    skipped: list[str] = []
    resolved = root.resolve()
    try:
        for found in _walk(root, skipped):
            files.append(_entry(resolved, root, found))
    except OSError as error:
        raise _invalid(Path(error.filename or root), f"cannot be read: {error.strerror}") from error
    if not files:
        raise _invalid(root, "has no files" + (" but hidden ones" if skipped else ""))
    check_paths(entry.path for entry in files)
    return Tree(root, tuple(sorted(files, key=lambda entry: entry.path)), tuple(sorted(skipped)))


def check_unchanged(tree: Tree) -> None:
    """LOCAL_PATH_INVALID, naming the file, if one was written to, added or removed since `tree` was read."""
    before, after = set(tree.files), set(read_tree(tree.root).files)
    for entry in sorted(before ^ after, key=lambda entry: entry.path):
        raise _invalid(tree.source(entry.path), "changed while it was pushed; push again when nothing writes to it")


def _walk(root: Path, skipped: list[str]) -> Iterator[os.DirEntry[str]]:
    waiting = [root]
    while waiting:
        with os.scandir(waiting.pop()) as entries:
            for entry in entries:
                if entry.name.startswith("."):
                    skipped.append(Path(entry.path).relative_to(root).as_posix())
                elif entry.is_dir(follow_symlinks=False):
                    waiting.append(Path(entry.path))
                else:
                    yield entry


def _entry(resolved: Path, root: Path, found: os.DirEntry[str]) -> Entry:
    path = Path(found.path)
    if found.is_symlink():
        target = path.resolve()
        if not target.is_relative_to(resolved):
            raise _invalid(path, "is a link that leaves the directory; put the file itself there (`cp -L`)")
        if not target.exists():
            raise _invalid(path, "is a link to nothing; remove it")
    status = path.stat()
    if stat.S_ISDIR(status.st_mode):
        raise _invalid(path, "is a link to a directory; put the directory itself there")
    if not stat.S_ISREG(status.st_mode):
        raise _invalid(path, "is neither a file nor a directory; remove it")
    return Entry(path.relative_to(root).as_posix(), status.st_size, status.st_mtime_ns, status.st_ino)


def _invalid(path: Path, why: str) -> InvalidArgument:
    return InvalidArgument("LOCAL_PATH_INVALID", f"{str(path)!a} {why}.", metadata={"path": ascii(str(path))})
