"""Directories in Hugging Face layout into ones that the zoo loads: safetensors, config, tokenizer, card, nothing else.

Safetensors are taken byte for byte: loading knows old names of tensors and missing prefixes. Pickled weights become
safetensors file by file, in processes of their own.
"""

import errno
import json
import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from modelzoo.convert.layout import Weights, find_layout
from modelzoo.convert.state_dict import read_to_safetensors
from modelzoo.errors import InvalidArgument
from modelzoo.loading import read_json
from modelzoo.progress import Progress
from modelzoo.safetensors_header import read_header
from modelzoo.sniff import find_pickle

__all__ = ["Assembled", "assemble"]

INDEX = "model.safetensors.index.json"


@dataclass(frozen=True, slots=True)
class Assembled:
    """What was left out of the source, and the weight files that were read from it."""

    left_out: tuple[str, ...]
    weights: tuple[Path, ...]
    was_pickled: bool


def assemble(source: Path, folder: Path, progress: Progress) -> Assembled:
    """Put what makes the model of the directory `source` into the directory `folder`, which is there and empty.

    `source` stays as it is; `folder` may share files with it, so these must not be written to. `progress` hears of the
    weights' bytes. Raises LOCAL_PATH_INVALID where `source` cannot be read; CHECKPOINT_UNSUPPORTED where it has no
    weights in transformers' form, or pickled ones that hold more than tensors; PICKLE_REFUSED for those that ask for
    more than that. Whether the weights fit the config, only loading shows.
    """
    layout = find_layout(_names(source), lambda name: read_json(source / name))
    for name in (*layout.describing, *layout.weights.files):
        _refuse_link_outwards(source, name)
    pickled = [name for name in layout.describing if _is_pickle(source / name)]
    for name in layout.describing:
        if name not in pickled:
            _share(source / name, folder / name)
    weights = tuple(source / name for name in layout.weights.files)
    progress.start(sum(path.stat().st_size for path in weights))
    if layout.weights.is_pickled:
        _convert(layout.weights, source, folder, progress)
    else:
        _take(layout.weights, source, folder, progress)
    return Assembled((*layout.dropped, *pickled), weights, layout.weights.is_pickled)


def _names(source: Path) -> list[str]:
    """The files' relative names, hidden ones left out."""
    try:
        found = [path.relative_to(source) for path in source.rglob("*") if path.is_file()]
    except OSError as error:
        raise InvalidArgument("LOCAL_PATH_INVALID", f"{str(source)!a} cannot be read: {error.strerror}.") from error
    return [path.as_posix() for path in found if not any(part.startswith(".") for part in path.parts)]


def _refuse_link_outwards(source: Path, name: str) -> None:
    """Of the files that a link may lead to, those of the same model: nobody's private ones are to be published."""
    root, target = source.resolve(), (source / name).resolve()
    # The Hub's own cache has snapshots/<commit>/<name>, a link to blobs/<digest>.
    blobs = root.parent.parent / "blobs" if root.parent.name == "snapshots" else root
    if not (target.is_relative_to(root) or target.is_relative_to(blobs)):
        message = f"{str(source / name)!a} is a link that leaves the directory; put the file itself there (`cp -L`)."
        raise InvalidArgument("LOCAL_PATH_INVALID", message)


def _take(weights: Weights, source: Path, folder: Path, progress: Progress) -> None:
    for name in (*weights.files, *([weights.index] if weights.index else [])):
        _share(source / name, folder / name)
    progress.advance(sum((source / name).stat().st_size for name in weights.files))


def _convert(weights: Weights, source: Path, folder: Path, progress: Progress) -> None:
    """Each pickle becomes one safetensors file; where they are several, a new index says which tensor is where."""
    written: list[Path] = []
    for name in weights.files:
        written.append(folder / _safetensors_name(name))
        read_to_safetensors(source / name, written[-1])
        progress.advance((source / name).stat().st_size)
    if weights.index is not None:
        (folder / INDEX).write_text(json.dumps(_index(written), indent=2) + "\n", encoding="utf-8")


def _index(files: list[Path]) -> dict[str, Any]:
    """From the files, not from the pickles' index: a tensor that shares its memory with another is written once."""
    places: dict[str, str] = {}
    total_size = 0
    for path in files:
        with path.open("rb") as file:
            header = read_header(file, path.stat().st_size)
        places |= {tensor.name: path.name for tensor in header.tensors}
        total_size += header.data_size
    return {"metadata": {"total_size": total_size}, "weight_map": places}


def _safetensors_name(name: str) -> str:
    """`pytorch_model-00001-of-00002.bin` is `model-00001-of-00002.safetensors`."""
    return f"{name.removesuffix('.bin').removeprefix('pytorch_')}.safetensors"


def _is_pickle(path: Path) -> bool:
    with path.open("rb") as file:
        return find_pickle(file) is not None


def _share(path: Path, target: Path) -> None:
    """The file again, without its bytes where the file system allows it."""
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        os.link(path.resolve(), target)
    except OSError as error:
        if error.errno == errno.ENOSPC:
            raise
        shutil.copyfile(path, target)
