"""Data to train with that lie on this machine: a file, or a folder."""

import os
import shutil
import tempfile
from collections.abc import Generator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from modelzoo.cut import scan_file
from modelzoo.datasets.checking import Checked, check_dataset, readable_columns
from modelzoo.datasets.layout import ROW_FILES, dataset_invalid, split_of
from modelzoo.errors import FailedPrecondition, InvalidArgument, NotFound
from modelzoo.manifest import Manifest
from modelzoo.progress import Progress
from modelzoo.tree import read_tree

if TYPE_CHECKING:
    from modelzoo.client import Client

__all__ = ["check_local", "columns_of", "local_data", "publish_local", "staged"]

TRAIN = "train"
DATASET = "dataset"


def local_data(data: str | os.PathLike[str]) -> Path | None:
    """The file or folder that is meant; None: text that is a reference.

    A path object is a path. So is text that begins with `.`, `/` or `~`, that ends as a file of rows does, or that
    names what is there.
    """
    if not isinstance(data, str) or data.startswith((".", "/", "~")):
        return Path(data).expanduser()
    path = Path(data)
    with suppress(OSError, ValueError):  # names that no file can have
        if path.suffix.lower() in ROW_FILES or path.exists():
            return path
    return None


def check_local(path: Path, needed: Sequence[str] = ()) -> Checked:
    """What `check_dataset` says of the file or folder. LOCAL_PATH_INVALID where it is not there, cannot be read, or
    holds links that leave it."""
    files = _files(path)
    try:
        sizes = {name: source.stat().st_size for name, source in files.items()}
        return check_dataset(sizes, lambda name: files[name].open("rb"), needed)
    except OSError as error:
        raise _unreadable(error.filename or path, error.strerror or "it cannot be read") from error


def columns_of(path: Path) -> tuple[str, ...]:
    """What `readable_columns` says of the file or folder."""
    files = _files(path)
    sizes = {name: source.stat().st_size for name, source in files.items()}
    return readable_columns(sizes, lambda name: files[name].open("rb"))


def publish_local(client: "Client", path: Path, model: str, progress: Progress | None = None) -> str:
    """The reference of the version of the dataset `model` that has exactly these files: one that is there already, or
    a new one."""
    with staged(path) as folder:
        tree = read_tree(folder)
        manifest = Manifest.of(DATASET, [scan_file(tree.source(entry.path), entry.path) for entry in tree.files])
        # One that may not be used any more is no reason not to publish it anew.
        with suppress(NotFound, FailedPrecondition):
            return client.version(f"{model}@sha256:{manifest.digest()}").reference
        return client.push(folder, model, format=DATASET, source=path.name, progress=progress).reference


def _files(path: Path) -> dict[str, Path]:
    """Where the dataset's files lie, by their paths in the dataset."""
    if not path.is_dir():
        return {_name_in_dataset(path): path}
    tree = read_tree(path)
    return {entry.path: tree.source(entry.path) for entry in tree.files}


def _name_in_dataset(path: Path) -> str:
    """A file that stands alone is to learn from, whatever its name says of splits."""
    if not path.is_file():
        raise _unreadable(path, "there is no such file or folder")
    if path.suffix.lower() not in ROW_FILES:
        known = ", ".join(f"*{suffix}" for suffix in sorted(ROW_FILES))
        raise dataset_invalid(f"{path.name} is none of {known}, nor a folder")
    return path.name if split_of(path.name) == TRAIN and path.name[0] != "." else f"{TRAIN}{path.suffix.lower()}"


@contextmanager
def staged(path: Path) -> Generator[Path]:
    """The dataset's folder: `path`, or one with that file alone. Raises LOCAL_PATH_INVALID, DATASET_INVALID."""
    if path.is_dir():
        yield path
        return
    with tempfile.TemporaryDirectory(prefix="zoo-data-") as folder:
        beside = Path(folder, _name_in_dataset(path))
        try:
            os.link(path.resolve(), beside)
        except OSError:  # another file system, or one without hard links
            shutil.copyfile(path, beside)
        yield Path(folder)


def _unreadable(path: object, why: str) -> InvalidArgument:
    return InvalidArgument("LOCAL_PATH_INVALID", f"{str(path)!a} cannot be trained with: {why}.")
