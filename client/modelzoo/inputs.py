"""Pictures and sounds as callers hold them, into the bytes of a file: what is sent, and what is decoded locally."""

import io
import os
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias, cast

from modelzoo.errors import InvalidArgument, ResourceExhausted
from modelzoo.wav import encode_wav

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from PIL.Image import Image

__all__ = ["REQUEST_BYTES_MAX", "AudioInput", "ImageInput", "Readable", "audio_bytes", "image_bytes"]

REQUEST_BYTES_MAX = 64 * 1024 * 1024  # of one picture or sound, as the protos say
PNG_LEVEL = 1  # zlib's quickest: the bytes travel once
# Modes that PNG keeps as they are; all others become RGB.
PNG_MODES = frozenset({"1", "L", "LA", "I;16", "P", "RGB", "RGBA"})


class Readable(Protocol):
    """An open binary file, as far as it matters here."""

    def read(self, size: int = ..., /) -> bytes: ...


FileInput: TypeAlias = str | os.PathLike[str] | bytes | Readable
ImageInput: TypeAlias = "FileInput | Image | NDArray[Any]"
AudioInput: TypeAlias = "FileInput | NDArray[Any]"


def image_bytes(image: ImageInput, bytes_max: int = REQUEST_BYTES_MAX) -> bytes:
    """A picture file of the same pixels: a file's own bytes, or PNG.

    A PIL image that still has an EXIF orientation is turned as it says, like the file that it came from. Raises
    LOCAL_PATH_INVALID, INPUT_EMPTY, FIELD_INVALID, REQUEST_TOO_LARGE.
    """
    data = _read(image, "image", bytes_max)
    return _checked(_png(_pillow(image)) if data is None else data, "image", bytes_max)


def audio_bytes(audio: AudioInput, rate_hz: int | None = None, bytes_max: int = REQUEST_BYTES_MAX) -> bytes:
    """A sound file of the same samples: a file's own bytes, or WAV. `rate_hz` goes with an array and with nothing else.

    Raises LOCAL_PATH_INVALID, INPUT_EMPTY, FIELD_INVALID, REQUEST_TOO_LARGE.
    """
    data = _read(audio, "audio", bytes_max)
    if data is not None:
        if rate_hz is not None:
            raise _invalid("audio", "A sound file says its own rate; give rate_hz with an array alone.")
        return _checked(data, "audio", bytes_max)
    if not hasattr(audio, "dtype"):
        raise _invalid("audio", f"A sound is a path, bytes, an open binary file or an array, not {_kind(audio)}.")
    if rate_hz is None:
        raise _invalid("rate_hz", "An array of samples needs its rate: rate_hz=16000, for example.")
    return _checked(encode_wav(cast("NDArray[Any]", audio), rate_hz), "audio", bytes_max)


def _read(given: object, field: str, bytes_max: int) -> bytes | None:
    """The file's bytes, one more than `bytes_max` at most; None where `given` is no file."""
    if isinstance(given, bytes | bytearray):
        return bytes(given)
    if isinstance(given, str | os.PathLike):
        return _read_path(os.fspath(cast("str | os.PathLike[str]", given)), bytes_max)
    if not hasattr(given, "read"):
        return None
    data: Any = cast(Readable, given).read(bytes_max + 1)
    if not isinstance(data, bytes):
        raise _invalid(field, "The file gives text, not bytes: open it with mode 'rb'.")
    return data


def _read_path(path: str, bytes_max: int) -> bytes:
    try:
        with open(path, "rb") as file:
            return file.read(bytes_max + 1)
    except FileNotFoundError as error:
        raise InvalidArgument("LOCAL_PATH_INVALID", f"There is no file {path[:200]!r}.") from error
    except (OSError, ValueError) as error:  # ValueError: a NUL in the path
        why = getattr(error, "strerror", None) or str(error)
        raise InvalidArgument("LOCAL_PATH_INVALID", f"{path[:200]!r} cannot be read: {why}.") from error


def _checked(data: bytes, field: str, bytes_max: int) -> bytes:
    if not data:
        raise InvalidArgument("INPUT_EMPTY", f"The {field} has no bytes.", field=field)
    if len(data) > bytes_max:
        raise ResourceExhausted(
            "REQUEST_TOO_LARGE",
            f"The {field} is over {bytes_max >> 20} MiB: shorten it, or compress it.",
            metadata={"limit_bytes": str(bytes_max)},
            field=field,
        )
    return data


def _pillow(image: object) -> "Image":
    from PIL import Image, ImageOps

    if isinstance(image, Image.Image):
        return ImageOps.exif_transpose(image)
    if not hasattr(image, "__array_interface__"):
        raise _invalid(
            "image", f"A picture is a path, bytes, an open binary file, a PIL image or an array, not {_kind(image)}."
        )
    pixels = cast("NDArray[Any]", image)
    if pixels.dtype != "uint8" or pixels.ndim not in (2, 3) or (pixels.ndim == 3 and pixels.shape[2] not in (1, 3, 4)):
        raise _invalid(
            "image",
            f"A picture's array is uint8 [height, width] or [height, width, 1, 3 or 4], not {pixels.dtype} "
            f"{list(pixels.shape)}.",
        )
    return Image.fromarray(pixels[:, :, 0] if pixels.shape[2:] == (1,) else pixels)


def _png(image: "Image") -> bytes:
    if 0 in image.size:
        raise InvalidArgument("INPUT_EMPTY", "The image has no pixels.", field="image")
    if image.mode in ("I", "F"):
        raise _invalid("image", f"A picture of mode {image.mode!r} has no scale of its own: convert it to RGB first.")
    written = io.BytesIO()
    kept = image if image.mode in PNG_MODES else image.convert("RGB")
    kept.save(written, "PNG", compress_level=PNG_LEVEL)
    return written.getvalue()


def _kind(given: object) -> str:
    return f"a {type(given).__name__}"


def _invalid(field: str, message: str) -> InvalidArgument:
    return InvalidArgument("FIELD_INVALID", message, field=field)
