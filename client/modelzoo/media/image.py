"""Pictures from the bytes of files, within limits, by Pillow.

What Pillow's own `Image.open` does beside this is not wanted in a server: it guesses among all its formats, prints
warnings, and refuses a huge picture without saying how large it is. So the decoder is chosen by how the bytes begin,
and the limits are checked on the header, before pixels are decoded.
"""

import io
import threading
import warnings
from collections.abc import Callable, Generator
from contextlib import contextmanager, nullcontext
from functools import cache
from typing import TYPE_CHECKING

from modelzoo.errors import InvalidArgument, ZooError
from modelzoo.media.hazards import hazard_of
from modelzoo.media.kind import Kind, kind_of
from modelzoo.media.tiff_directory import orientation_of

if TYPE_CHECKING:
    from PIL import Image, ImageFile

__all__ = ["PIXELS_MAX", "RATIO_MAX", "check_image_header", "decode_image"]

# 8192 x 8192: every camera's pictures but the 100 and 200 megapixel ones; as RGB 192 MiB.
PIXELS_MAX = 2**26
# Models resize by the shorter edge: a line of 1 x 100,000 would become 224 x 22,400,000.
RATIO_MAX = 100

# Held while Python's warning filters, which are the process's, are changed: while headers are read, not pixels.
_FILTERS = threading.Lock()


def decode_image(data: bytes, *, field: str = "image") -> "Image.Image":
    """The picture in `data` as RGB, upright, at most PIXELS_MAX pixels; of an animation the first frame.

    As `Image.convert("RGB")` does, and so as most models were trained: transparency is dropped (what is beneath it
    shows), colour profiles are ignored, CMYK is converted without one. 16-bit greys keep their upper 8 bits. Pixels
    count, not what follows them: a file that lost only its last bytes is whole if all pixels are there.

    Raises, naming `field`: INPUT_EMPTY; IMAGE_INVALID for anything but PNG, JPEG, WebP, GIF, BMP and TIFF, for one that
    breaks off or contradicts itself, has one edge over RATIO_MAX times the other, samples of 32 bits, or a structure
    that is made to exhaust a decoder; IMAGE_TOO_LARGE. Safe to call from several threads.
    """
    kind = kind_of(data)
    # A TIFF file's other directories are read, and may be warned about, when its pixels are.
    quiet = _quiet() if kind is Kind.TIFF else nullcontext()
    with _opened(data, kind, field) as image, _translated(kind, field), quiet:
        image.load()
        return _upright(_to_rgb(image, field), image.info.get("exif", b""))


def check_image_header(data: bytes, *, field: str = "image") -> None:
    """Raise what `decode_image` would, as far as it can be known without decoding pixels."""
    with _opened(data, kind_of(data), field):
        pass


@contextmanager
def _opened(data: bytes, kind: Kind, field: str) -> "Generator[ImageFile.ImageFile]":
    if not data:
        raise InvalidArgument("INPUT_EMPTY", f"{field} has no bytes; send a picture file.", field=field)
    opener = _openers().get(kind)
    if opener is None:
        raise _invalid(
            field,
            f"is no picture that is read here: it looks like {kind}. Send PNG, JPEG, WebP, GIF, BMP or TIFF.",
        )
    if hazard := hazard_of(kind, data):
        raise _invalid(field, f"is {kind} that is not decoded, because it {hazard}. Save it again with other settings.")
    with _translated(kind, field), _quiet():
        image = opener(io.BytesIO(data))
    with image:
        _check_size(*image.size, field)
        yield image


@cache
def _openers() -> "dict[Kind, Callable[[io.BytesIO], ImageFile.ImageFile]]":
    from PIL import (
        BmpImagePlugin,
        GifImagePlugin,
        JpegImagePlugin,
        PngImagePlugin,
        TiffImagePlugin,
        WebPImagePlugin,
    )

    return {
        Kind.PNG: PngImagePlugin.PngImageFile,
        Kind.JPEG: JpegImagePlugin.JpegImageFile,
        Kind.WEBP: WebPImagePlugin.WebPImageFile,
        Kind.GIF: GifImagePlugin.GifImageFile,
        Kind.BMP: BmpImagePlugin.BmpImageFile,
        Kind.TIFF: TiffImagePlugin.TiffImageFile,
    }


@contextmanager
def _translated(kind: Kind, field: str) -> Generator[None]:
    """Whatever Pillow raises becomes IMAGE_INVALID: broken files lead its parsers into errors of every type."""
    from PIL.Image import DecompressionBombError

    try:
        yield
    except ZooError:
        raise
    # WebP and GIF make room before they say how large they are; Pillow stops them at 178 million pixels.
    except DecompressionBombError as error:
        raise _too_large(field, "too many pixels", {}) from error
    except Exception as error:
        reason = str(error)[:300] or type(error).__name__
        raise _invalid(field, f"is {kind} that breaks off or is damaged ({reason}). Send the whole file.") from error


@contextmanager
def _quiet() -> Generator[None]:
    """No warnings of Pillow's about odd metadata, neither printed nor, where warnings are errors, raised."""
    with _FILTERS, warnings.catch_warnings():
        warnings.filterwarnings("ignore", module=r"PIL\.")
        yield


def _check_size(width: int, height: int, field: str) -> None:
    if width < 1 or height < 1:
        raise _invalid(field, f"is {width} x {height} pixels: there is nothing to see. Send a whole picture.")
    if width * height > PIXELS_MAX:
        raise _too_large(field, f"{width} x {height} pixels", {"width": str(width), "height": str(height)})
    if max(width, height) > RATIO_MAX * min(width, height):
        raise _invalid(field, f"is {width} x {height} pixels; one edge may be {RATIO_MAX} times the other. Crop it.")


def _to_rgb(image: "Image.Image", field: str) -> "Image.Image":
    import numpy as np
    from PIL import Image

    if image.mode in ("I", "F"):
        raise _invalid(field, "has samples of 32 bits, of which none is known to be white. Save it with 8 or 16.")
    if image.mode.startswith("I;16"):
        # Pillow's own conversion cuts off all that is brighter than 255 of 65,535.
        image = Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
    if image.mode == "RGBa":
        image = image.convert("RGBA")
    # Else the conversion of a palette with it warns.
    image.info.pop("transparency", None)
    return image.convert("RGB")


def _upright(image: "Image.Image", exif: bytes) -> "Image.Image":
    """Turned as its EXIF block says; a TIFF file's own entry has been followed by Pillow."""
    from PIL.Image import Transpose

    turns = {
        2: Transpose.FLIP_LEFT_RIGHT,
        3: Transpose.ROTATE_180,
        4: Transpose.FLIP_TOP_BOTTOM,
        5: Transpose.TRANSPOSE,
        6: Transpose.ROTATE_270,
        7: Transpose.TRANSVERSE,
        8: Transpose.ROTATE_90,
    }
    turn = turns.get(orientation_of(exif))
    return image if turn is None else image.transpose(turn)


def _invalid(field: str, what: str) -> InvalidArgument:
    return InvalidArgument("IMAGE_INVALID", f"{field} {what}", field=field)


def _too_large(field: str, size: str, metadata: dict[str, str]) -> InvalidArgument:
    return InvalidArgument(
        "IMAGE_TOO_LARGE",
        f"{field} has {size}; at most {PIXELS_MAX:,} are decoded. Scale it down first.",
        metadata={**metadata, "pixels_max": str(PIXELS_MAX)},
        field=field,
    )
