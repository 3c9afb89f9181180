"""Pictures of rows: files in the dataset's folder, or bytes as Parquet has them."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from modelzoo.datasets.pictures import FILE_BYTES_MAX
from modelzoo.errors import InvalidArgument
from zoo_trainer.rows import Row

if TYPE_CHECKING:
    from PIL.Image import Image

__all__ = ["PICTURES", "check_picture", "picture_of"]

PICTURES = ("image", "img", "picture")


def picture_of(row: Row, column: str, root: Path) -> "Image":
    """The row's picture, RGB and upright, decoded within the limits of `modelzoo.media`.

    The column has the path of a file below `root`, the picture's bytes, or an object with `bytes` and `path`, of which
    one may be None. DATASET_UNSUITABLE, which names the picture, where it has none of these, where the file lies
    elsewhere, and where it is no picture that can be decoded.
    """
    from modelzoo.media.image import decode_image

    name, data = _content(row.get(column), column, root)
    try:
        return decode_image(data, field=name)
    except InvalidArgument as error:
        raise _unsuitable(error.message) from error


def check_picture(row: Row, column: str, root: Path) -> None:
    """Raise what `picture_of` would, as far as it can be known without decoding pixels."""
    from modelzoo.media.image import check_image_header

    name, data = _content(row.get(column), column, root)
    try:
        check_image_header(data, field=name)
    except InvalidArgument as error:
        raise _unsuitable(error.message) from error


def _content(value: Any, column: str, root: Path) -> tuple[str, bytes]:
    """What the picture is called, and its bytes."""
    match value:
        case str():
            return _file(value, column, root)
        case bytes():
            return f"a picture in `{column}`", value
        case Mapping():
            data, path = (cast(Mapping[str, Any], value).get(part) for part in ("bytes", "path"))
            if isinstance(data, bytes):
                return (path if isinstance(path, str) and path else f"a picture in `{column}`"), data
            if isinstance(path, str):
                return _file(path, column, root)
        case _:
            pass
    raise _unsuitable(f"`{column}` of a row is no picture, but {str(cast(Any, value))[:80]!a}")


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
    return InvalidArgument("DATASET_UNSUITABLE", f"This dataset cannot be learned from: {why.rstrip('.')}.")
