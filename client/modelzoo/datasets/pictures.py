"""Whether pictures of a dataset can be decoded, and where rows hold their bytes."""

from collections.abc import Mapping
from typing import Any

from blake3 import blake3

from modelzoo.errors import InvalidArgument
from modelzoo.media.kind import Kind, kind_of

__all__ = ["FILE_BYTES_MAX", "PICTURES", "PICTURE_COLUMNS", "held_bytes", "picture_problem", "with_digests"]

PICTURES = frozenset({Kind.PNG, Kind.JPEG, Kind.WEBP, Kind.GIF, Kind.BMP, Kind.TIFF})
# Columns whose bytes are pictures, whatever they look like.
PICTURE_COLUMNS = frozenset({"image", "img", "picture"})
# The largest picture that is decoded, 8192 x 8192 of 16 bits, uncompressed and with an alpha channel.
FILE_BYTES_MAX = 2**29


def held_bytes(value: Any) -> bytes | None:
    """The bytes of a picture or a sound that a row holds itself, plain or beside a `path` as the Hub writes them."""
    match value:
        case (bytes() as data) | {"bytes": bytes() as data}:
            return data
        case _:
            return None


def picture_problem(name: str, data: bytes) -> str | None:
    """What keeps the picture called `name` from being learned from; None for one of which every pixel is there.

    Without Pillow, which decodes them, only how it begins is looked at.
    """
    if not data:
        return f"{name} is empty"
    kind = kind_of(data)
    if kind not in PICTURES:
        return f"{name} is not a picture that can be read: it is {kind}"
    try:
        from modelzoo.media.image import decode_image

        decode_image(data, field=name)
    except ModuleNotFoundError:
        return None
    except InvalidArgument as error:
        return error.message.rstrip(".")
    return None


def with_digests(row: Mapping[str, Any]) -> dict[str, Any]:
    """The row, digests for the bytes that it holds, by whatever name."""
    held = {name: held_bytes(value) for name, value in row.items()}
    return {name: row[name] if data is None else blake3(data).hexdigest() for name, data in held.items()}
