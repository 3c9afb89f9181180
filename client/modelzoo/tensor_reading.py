"""Single tensors of a version, by name, without the rest of it.

    modelzoo.tensors("zoo/gpt2", "h.0.*")                       # every tensor of the first block
    modelzoo.tensors("zoo/gpt2", "wte.weight", slice(0, 100))   # rows 0 to 99 and no other bytes

The header's blob says where in its file each tensor lies, and is kept; then ranges are read, neighbours together.
"""

from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from modelzoo.file_bytes import FileBytes
from modelzoo.manifest import File
from modelzoo.records import TensorInfo
from modelzoo.tensor_array import Library, as_array, library
from modelzoo.tensor_index import index_tensors, matching
from modelzoo.tensor_slice import Index, Part, part_of

if TYPE_CHECKING:
    from modelzoo.client import Client

__all__ = ["read_tensors", "tensor_infos", "tensors"]

STREAMS = 4
TOGETHER_BYTES_MAX = 64 * 1024 * 1024  # neighbours read by one call; a tensor may be larger


def tensors(
    ref: str,
    pattern: str = "*",
    index: Index | tuple[Index, ...] | None = None,
    *,
    into: Library | None = None,
    client: "Client | None" = None,
) -> dict[str, Any]:
    """The version's tensors whose names match the glob pattern, by name; `Client.tensors` says the rest.

    Without `client`, one is opened as `Client()` does.
    """
    from modelzoo.client import Client

    if client is not None:
        return client.tensors(ref, pattern, index, into=into)
    with Client() as own:
        return own.tensors(ref, pattern, index, into=into)


def tensor_infos(source: FileBytes) -> tuple[TensorInfo, ...]:
    """Every tensor of the version, by name."""
    return index_tensors(source.manifest, source.header, lambda file: bytes(source.read(file, 0, file.size)))


def read_tensors(
    source: FileBytes, pattern: str, index: Index | tuple[Index, ...] | None, into: Library | None
) -> dict[str, Any]:
    """The arrays by name. Raises TENSOR_NOT_FOUND, TENSOR_INDEX_INVALID, TENSOR_DTYPE_UNSUPPORTED before it reads."""
    made = library(into)
    chosen = matching(tensor_infos(source), pattern)
    wanted = [_Wanted(info, part_of(info, index)) for info in chosen]
    for dtype in {info.dtype for info in chosen}:
        as_array(dtype, (0,), bytearray(), made)
    files = {file.path: file for file in source.manifest.files}
    arrays: dict[str, Any] = {}
    with ThreadPoolExecutor(STREAMS, thread_name_prefix="zoo-tensors") as executor:
        reading = deque(
            executor.submit(_read, source, files[group[0].info.path], group) for group in _neighbours(wanted)
        )
        try:
            while reading:  # taken off, so that what was read together goes once it is taken apart
                for each, data in reading.popleft().result():
                    array = as_array(each.info.dtype, each.part.shape, data, made)
                    arrays[each.info.name] = array[each.part.rest] if each.part.rest else array
        except BaseException:
            executor.shutdown(cancel_futures=True)
            raise
    return {info.name: arrays[info.name] for info in chosen}


@dataclass(frozen=True, slots=True)
class _Wanted:
    info: TensorInfo
    part: Part


def _neighbours(wanted: Sequence[_Wanted]) -> Iterator[list[_Wanted]]:
    """What lies side by side in a file, together."""
    group: list[_Wanted] = []
    size = 0
    for each in sorted(wanted, key=lambda each: (each.info.path, each.part.offset)):
        last = group[-1] if group else None
        if last is not None and (
            last.info.path != each.info.path
            or last.part.offset + last.part.length != each.part.offset
            or size + each.part.length > TOGETHER_BYTES_MAX
        ):
            yield group
            group, size = [], 0
        group.append(each)
        size += each.part.length
    if group:
        yield group


def _read(source: FileBytes, file: File, group: Sequence[_Wanted]) -> list[tuple[_Wanted, bytearray]]:
    begin = group[0].part.offset
    data = source.read(file, begin, sum(each.part.length for each in group))
    if len(group) == 1:
        return [(group[0], data)]
    # A copy for each, or one that is kept would keep all of them.
    return [(each, data[each.part.offset - begin : each.part.offset - begin + each.part.length]) for each in group]
