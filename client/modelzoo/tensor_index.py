"""The tensors of a version: one namespace over all of its safetensors files, read from their headers alone.

A tensor is called as its file's header calls it, behind the folder that the file lies in, if any (`unet/conv.weight`).
So shards are one model. Where two files of a folder hold tensors of one name, the file that the folder's
`*.safetensors.index.json` names for it, else the first by path, has the name; the other's is `FILE:NAME`.
"""

import bisect
import fnmatch
import itertools
import json
from collections.abc import Callable, Iterator, Sequence
from typing import Any, cast

from modelzoo.cut import SAFETENSORS_SUFFIX
from modelzoo.errors import NotFound
from modelzoo.manifest import Blob, File, Manifest
from modelzoo.records import TensorInfo
from modelzoo.safetensors_header import Header

__all__ = ["index_tensors", "is_safetensors", "matching", "overlapping"]

INDEX_SUFFIX = ".safetensors.index.json"


def is_safetensors(file: File) -> bool:
    """Whether the cut took the file for safetensors."""
    return file.path.lower().endswith(SAFETENSORS_SUFFIX)


def index_tensors(
    manifest: Manifest, header_of: Callable[[File], Header], content_of: Callable[[File], bytes]
) -> tuple[TensorInfo, ...]:
    """Every tensor by name. `content_of`, which gives a whole file, is asked for an index only where names collide."""
    found: dict[str, list[TensorInfo]] = {}
    for file in filter(is_safetensors, manifest.files):
        for info in _of_file(file, header_of(file)):
            found.setdefault(info.name, []).append(info)
    collide = any(len(infos) > 1 for infos in found.values())
    owners = _owners(manifest, content_of) if collide else {}
    named = itertools.chain.from_iterable(_told_apart(name, infos, owners) for name, infos in found.items())
    return tuple(sorted(named, key=lambda info: info.name))


def matching(infos: Sequence[TensorInfo], pattern: str) -> list[TensorInfo]:
    """Those whose names match the glob pattern; TENSOR_NOT_FOUND if there is none."""
    chosen = [info for info in infos if fnmatch.fnmatchcase(info.name, pattern)]
    if not chosen:
        has = f"it has {len(infos)}, such as {infos[0].name[:80]!a}" if infos else "it has none in safetensors files"
        raise NotFound("TENSOR_NOT_FOUND", f"No tensor of this version matches {pattern[:80]!a}: {has}.")
    return chosen


def overlapping(file: File, offset: int, length: int) -> list[tuple[int, Blob]]:
    """The blobs, each with its offset in the file, that hold any of these bytes."""
    placed = list(file.placed_blobs())
    first = max(0, bisect.bisect_right(placed, offset, key=lambda each: each[0]) - 1)
    return list(itertools.takewhile(lambda each: each[0] < offset + length, placed[first:])) if length else []


def _of_file(file: File, header: Header) -> Iterator[TensorInfo]:
    folder, slash, _ = file.path.rpartition("/")
    blobs = iter(file.placed_blobs())
    here: list[tuple[int, Blob]] = []
    # Tensors come in the order of the data, so one walk over the blobs serves them all.
    for tensor in header.tensors:
        begin, end = header.size + tensor.begin, header.size + tensor.end
        here = [each for each in here if each[0] + each[1].size > begin]
        while not here or here[-1][0] + here[-1][1].size < end:
            following = next(blobs, None)
            if following is None:
                break
            if following[0] + following[1].size > begin:
                here.append(following)
        digests = tuple(blob.digest for at, blob in here if at < end) if end > begin else ()
        name = f"{folder}{slash}{tensor.name}"
        yield TensorInfo(name, tensor.dtype, tensor.shape, tensor.size_bytes, file.path, begin, digests)


def _told_apart(name: str, infos: list[TensorInfo], owners: dict[str, str]) -> Iterator[TensorInfo]:
    owner = owners.get(name, infos[0].path)
    if all(info.path != owner for info in infos):
        owner = infos[0].path
    for info in infos:
        shown = name if info.path == owner else f"{info.path}:{name.rpartition('/')[2]}"
        yield TensorInfo(shown, info.dtype, info.shape, info.size_bytes, info.path, info.offset, info.blobs)


def _owners(manifest: Manifest, content_of: Callable[[File], bytes]) -> dict[str, str]:
    """The path of the file that an index names for a tensor, by the tensor's name; a broken index names none."""
    owners: dict[str, str] = {}
    for file in manifest.files:
        if not file.path.lower().endswith(INDEX_SUFFIX):
            continue
        folder, slash, _ = file.path.rpartition("/")
        try:
            content: Any = json.loads(content_of(file))
        except (ValueError, RecursionError):
            continue
        listed: Any = cast(dict[str, Any], content).get("weight_map") if isinstance(content, dict) else None
        if isinstance(listed, dict):
            for name, path in cast(dict[str, Any], listed).items():
                owners[f"{folder}{slash}{name}"] = f"{folder}{slash}{path}"
    return owners
