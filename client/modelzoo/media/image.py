"""Pictures from the bytes of files, within limits, by Pillow.

What Pillow's own `Image.open` does beside this is not wanted in a server: it guesses among all its formats, prints
warnings, and refuses a huge picture without saying how large it is. So the decoder is chosen by how the bytes begin,
and the limits are checked on the header, before pixels are decoded.
"""

import io
import threading
import warnings
from collections.abc import Callable, Generator
from contextlib import contextmanager
from functools import cache
from typing import TYPE_CHECKING

from modelzoo.errors import InvalidArgument
from modelzoo.media.kind import Kind, kind_of

if TYPE_CHECKING:
    from PIL import Image, ImageFile

__all__ = ["PIXELS_MAX", "RATIO_MAX", "decode_image"]

# 8192 x 8192: every camera's pictures but the 100 and 200 megapixel ones; as RGB 192 MiB.
PIXELS_MAX = 2**26
# Models resize by the shorter edge: a line of 1 x 100,000 would become 224 x 22,400,000.
RATIO_MAX = 100

# Held while Python's warning filters, which are the process's, are changed: not while pixels are decoded.
_FILTERS = threading.Lock()


def decode_image(data: bytes, *, field: str = "image") -> "Image.Image":
    """The picture in `data` as RGB, upright, at most PIXELS_MAX pixels; of an animation the first frame.

    As `Image.convert("RGB")` does, and so as most models were trained: transparency is dropped (what is beneath it
    shows), colour profiles are ignored, CMYK is converted without one. 16-bit greys keep their upper 8 bits.

    Raises, naming `field`: INPUT_EMPTY; IMAGE_INVALID for anything but PNG, JPEG, WebP, GIF, BMP and TIFF, for one that
    breaks off or contradicts itself, is longer than RATIO_MAX times its shorter edge, or has samples of 32 bits;
    IMAGE_TOO_LARGE. Safe to call from several threads.
    """
    if not data:
        raise InvalidArgument("INPUT_EMPTY", f"{field} has no bytes; send a picture file.", field=field)
    kind = kind_of(data)
    opener = _openers().get(kind)
    if opener is None:
        raise InvalidArgument(
            "IMAGE_INVALID",
            f"{field} is no picture that is read here: it looks like {kind}. Send PNG, JPEG, WebP, GIF, BMP or TIFF.",
            field=field,
        )
    return _decode(data, kind, opener, field)


def _decode(
    data: bytes, kind: Kind, opener: "Callable[[io.BytesIO], ImageFile.ImageFile]", field: str
) -> "Image.Image":
    with _translated(kind, field), _quiet():
        image = opener(io.BytesIO(data))
    with image:
        _check_size(*image.size, field)
        with _translated(kind, field):
            image.load()
        return _to_rgb(image, field)


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
    try:
        yield
    except Exception as error:
        raise InvalidArgument(
            "IMAGE_INVALID",
            f"{field} is {kind} that breaks off or is damaged ({error}). Send the whole file.",
            field=field,
        ) from error


@contextmanager
def _quiet() -> Generator[None]:
    """No warnings of Pillow's about odd metadata, neither printed nor, where warnings are errors, raised."""
    with _FILTERS, warnings.catch_warnings():
        warnings.filterwarnings("ignore", module=r"PIL\.")
        yield


def _check_size(width: int, height: int, field: str) -> None:
    if width < 1 or height < 1:
        raise InvalidArgument("IMAGE_INVALID", f"{field} is {width} x {height} pixels: nothing to see.", field=field)
    if width * height > PIXELS_MAX:
        raise InvalidArgument(
            "IMAGE_TOO_LARGE",
            f"{field} has {width} x {height} pixels; at most {PIXELS_MAX:,} are decoded. Scale it down first.",
            metadata={"width": str(width), "height": str(height), "pixels_max": str(PIXELS_MAX)},
            field=field,
        )
    if max(width, height) > RATIO_MAX * min(width, height):
        raise InvalidArgument(
            "IMAGE_INVALID",
            f"{field} is {width} x {height} pixels; one edge may be {RATIO_MAX} times the other. Crop it.",
            field=field,
        )


def _to_rgb(image: "Image.Image", field: str) -> "Image.Image":
    import numpy as np
    from PIL import Image, ImageOps

    ImageOps.exif_transpose(image, in_place=True)
    image.info.pop("transparency", None)
    if image.mode.startswith("I;16"):
        image = Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
    if image.mode in ("I", "F"):
        raise InvalidArgument("IMAGE_INVALID", f"{field} has samples of 32 bits, of which none is white.", field=field)
    return image.convert("RGB")
