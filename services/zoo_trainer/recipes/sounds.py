"""Sounds of rows: files in the dataset's folder, or bytes as Parquet has them."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from modelzoo.errors import InvalidArgument
from zoo_trainer.rows import Row

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = ["SOUNDS", "seconds_of", "sound_of"]

SOUNDS = ("audio", "path", "file")
# Half an hour, the longest that is decoded, of 8 channels of 32 bits at 48 kHz, and some.
FILE_BYTES_MAX = 3 * 2**30


def sound_of(row: Row, column: str, root: Path, rate_hz: int) -> "NDArray[np.float32]":
    """The row's sound, mono float32 of -1 to 1 at that rate, decoded within the limits of `modelzoo.media`.

    The column has the path of a file below `root`, the sound's bytes, or an object with `bytes` and `path`, of which
    one may be None. DATASET_UNSUITABLE, which names the sound, where it has none of these, where the file lies
    elsewhere, and where it is no sound that can be decoded.
    """
    from modelzoo.media.audio import decode_audio

    name, data = _content(row.get(column), column, root)
    try:
        return decode_audio(data, rate_hz, field=name)
    except InvalidArgument as error:
        raise _unsuitable(error.message) from error


def seconds_of(row: Row, column: str, root: Path) -> float:
    """How long it lasts; every sample is looked at. Raises as `sound_of`."""
    from modelzoo.media.audio import measure_audio

    name, data = _content(row.get(column), column, root)
    try:
        return measure_audio(data, field=name)
    except InvalidArgument as error:
        raise _unsuitable(error.message) from error


def _content(value: Any, column: str, root: Path) -> tuple[str, bytes]:
    """What the sound is called, and its bytes."""
    match value:
        case str():
            return _file(value, column, root)
        case bytes():
            return f"a sound in `{column}`", value
        case Mapping():
            data, path = (cast(Mapping[str, Any], value).get(part) for part in ("bytes", "path"))
            if isinstance(data, bytes):
                return (path if isinstance(path, str) and path else f"a sound in `{column}`"), data
            if isinstance(path, str):
                return _file(path, column, root)
        case _:
            pass
    raise _unsuitable(f"`{column}` of a row is no sound, but {str(cast(Any, value))[:80]!a}")


def _file(name: str, column: str, root: Path) -> tuple[str, bytes]:
    path = root / name
    if not path.is_relative_to(root) or ".." in path.relative_to(root).parts:
        raise _unsuitable(f"`{column}` names a file outside of the dataset: {name[:80]!a}")
    inside = path.relative_to(root).as_posix()
    try:
        if path.stat().st_size > FILE_BYTES_MAX:
            raise _unsuitable(f"{inside} has more than {FILE_BYTES_MAX:,} bytes")
        return inside, path.read_bytes()
    except (OSError, ValueError) as error:
        raise _unsuitable(f"`{column}` names a file that is not in the dataset: {inside[:80]!a}") from error


def _unsuitable(why: str) -> InvalidArgument:
    return InvalidArgument("DATASET_UNSUITABLE", f"No speech can be learned from this dataset: {why.rstrip('.')}.")
