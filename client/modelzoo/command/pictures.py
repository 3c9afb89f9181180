"""Pictures with boxes and labels drawn in, to be looked at."""

import io
import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from modelzoo.command.terminal import safe, shortened

if TYPE_CHECKING:
    from PIL.Image import Image
    from PIL.ImageDraw import ImageDraw
    from PIL.ImageFont import FreeTypeFont, ImageFont

    from modelzoo.records import Box, Detection, LabelScore

__all__ = ["check_format", "draw_detections", "enlargement", "write_drawing"]

Colour = tuple[int, int, int]

# Okabe and Ito (2008), which people with any colour vision tell apart; their black is kept for outlines.
PALETTE: tuple[Colour, ...] = (
    (230, 159, 0),
    (86, 180, 233),
    (0, 158, 115),
    (240, 228, 66),
    (0, 114, 178),
    (213, 94, 0),
    (204, 121, 167),
)
BLACK, WHITE = (0, 0, 0), (255, 255, 255)
# Labels need some room: smaller pictures are enlarged.
EDGE_MIN = 480
LINES_PER_EDGE = 28
LINE_PIXELS_MIN = 14


def check_format(path: Path) -> None:
    """LOCAL_PATH_INVALID unless the file's ending says how to write it, and there is a folder for it."""
    if path.suffix.lower() not in _formats(path):
        raise _unwritable(path, "give it an ending that says the format: .png, .jpg or .webp")
    if not path.parent.is_dir():
        raise _unwritable(path, f"there is no folder '{path.parent}'")


def write_drawing(source: Path | bytes, detections: "Sequence[Detection]", target: Path) -> None:
    """Write the picture with the detections drawn in; LOCAL_PATH_INVALID where that fails."""
    from modelzoo.inputs import image_bytes
    from modelzoo.media.image import decode_image

    drawn = draw_detections(decode_image(image_bytes(source)), detections)
    written = io.BytesIO()
    drawn.save(written, _formats(target)[target.suffix.lower()])
    try:
        target.write_bytes(written.getvalue())
    except OSError as error:
        raise _unwritable(target, error.strerror or "the disk refuses") from error


def enlargement(width: int, height: int) -> int:
    """How many times larger a picture of this size is drawn."""
    return max(1, math.ceil(EDGE_MIN / max(width, height)))


def draw_detections(image: "Image", detections: "Sequence[Detection]") -> "Image":
    """A copy with each box in its label's colour, between black lines, and the label on that colour at its corner.

    Labels lie over all boxes, the best over the others. A picture whose longer edge is under 480 pixels is enlarged, by
    a whole number.
    """
    from PIL import ImageDraw, ImageFont

    scale = enlargement(*image.size)
    drawn = image.resize((image.width * scale, image.height * scale))
    line_pixels = max(LINE_PIXELS_MIN, min(drawn.size) // LINES_PER_EDGE)
    font = ImageFont.load_default(line_pixels)
    draw = ImageDraw.Draw(drawn)
    names = sorted({detection.label.label for detection in detections})
    marks = [
        (detection, PALETTE[names.index(detection.label.label) % len(PALETTE)])
        for detection in sorted(detections, key=lambda detection: detection.label.score)
    ]
    for detection, colour in marks:
        _draw_box(draw, detection.box, scale, max(2, line_pixels // 8), colour)
    for detection, colour in marks:
        corner = (round(detection.box.x_min * scale), round(detection.box.y_min * scale))
        _draw_label(draw, _caption(detection.label), corner, font, colour)
    return drawn


def _draw_box(draw: "ImageDraw", box: "Box", scale: int, thick: int, colour: Colour) -> None:
    left, top, right, bottom = (round(edge * scale) for edge in (box.x_min, box.y_min, box.x_max, box.y_max))
    # A box may be empty, or thinner than its lines.
    right, bottom = max(right, left + 2 * thick), max(bottom, top + 2 * thick)
    draw.rectangle((left, top, right, bottom), outline=BLACK, width=thick + 2)
    draw.rectangle((left + 1, top + 1, right - 1, bottom - 1), outline=colour, width=thick)


def _draw_label(
    draw: "ImageDraw", text: str, corner: tuple[int, int], font: "FreeTypeFont | ImageFont", colour: Colour
) -> None:
    """Above the corner where there is room, else below it; never out of the picture."""
    left, top = corner
    height = math.ceil(font.getbbox("Ag")[3] * 1.3)
    width = math.ceil(draw.textlength(text, font)) + height // 2
    x = max(0, min(left, draw.im.size[0] - width))
    y = top - height if top >= height else top
    draw.rectangle((x, y, x + width, y + height), fill=colour, outline=BLACK)
    ink = BLACK if _is_light(colour) else WHITE
    draw.text((x + height // 4, y + height // 2), text, fill=ink, font=font, anchor="lm")


def _caption(label: "LabelScore") -> str:
    return f"{shortened(' '.join(safe(label.label).split()))} {label.score:.0%}"


def _is_light(colour: Colour) -> bool:
    """Whether black reads better on it than white (luma of ITU-R BT.601)."""
    red, green, blue = colour
    return 0.299 * red + 0.587 * green + 0.114 * blue > 128


def _formats(path: Path) -> dict[str, str]:
    """Pillow's names of formats by the endings of files."""
    try:
        from PIL import Image
    except ModuleNotFoundError as error:
        raise _unwritable(path, "drawing needs Pillow, which the extra `torch` brings") from error
    endings = Image.registered_extensions()
    return {ending: name for ending, name in endings.items() if name in Image.SAVE}


def _unwritable(path: Path, why: str) -> Exception:
    from modelzoo.errors import InvalidArgument

    return InvalidArgument("LOCAL_PATH_INVALID", f"'{path}' cannot be written: {why}.")
