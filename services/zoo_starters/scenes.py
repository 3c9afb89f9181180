"""Scenes of handwritten digits with known boxes: real handwriting, composed into pictures as a detector needs them.

Scenes of the two splits share no digit. A scene is a function of its split and number: nothing is stored.

- the picture: 96 to 160 pixels a side, a gradient between two colours, stray lines, noise
- the digits: 1 to 6, each from a scan 16 to 48 pixels high, its colour apart from what lies under it, nearly no overlap
- a box: the smallest about the pixels that ink covers by a quarter or more
"""

from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, cast

from zoo_starters.digits import CLASSES, held_out_digits, training_digits

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from PIL import Image

__all__ = ["CLASSES", "Scene", "Split", "compose_scene", "example"]

SIDE_MIN, SIDE_MAX = 96, 160
DIGITS_MAX = 6
HEIGHT_MIN, HEIGHT_MAX = 16, 48
ASPECT_MIN, ASPECT_MAX = 0.8, 1.1
# The ink's luminance (0 to 255) stands off the background's mean by at least this.
CONTRAST_MIN = 60
OVERLAP_MAX = 0.05
PLACES_TRIED = 20
INK_IN_BOX = 0.25
LINES_MAX = 4
NOISE_MAX = 12.0
LUMINANCE = (0.299, 0.587, 0.114)  # ITU-R BT.601


class Split(Enum):
    """Which digits a scene has. The value keeps the splits' random streams apart."""

    TRAINING = 1
    HELD_OUT = 2


@dataclass(frozen=True, slots=True)
class Scene:
    """A picture and what is in it.

    `pixels` uint8 (height, width, 3); `boxes` float32 (n, 4) as x0, y0, x1, y1 in pixels, the upper bounds exclusive;
    `labels` int64 (n,), indices of CLASSES.
    """

    pixels: "NDArray[np.uint8]"
    boxes: "NDArray[np.float32]"
    labels: "NDArray[np.int64]"

    @property
    def picture(self) -> "Image.Image":
        from PIL import Image

        return Image.fromarray(self.pixels)


def compose_scene(split: Split, number: int) -> Scene:
    """The split's scene of that number, 0 or more: the same at every call with the same packages."""
    import numpy as np

    rng = np.random.default_rng((split.value, number))
    width, height = (int(side) for side in rng.integers(SIDE_MIN, SIDE_MAX + 1, size=2))
    canvas = _background(rng, width, height)
    digits = training_digits() if split is Split.TRAINING else held_out_digits()
    boxes: list[NDArray[np.float32]] = []
    labels: list[int] = []
    for _ in range(int(rng.integers(1, DIGITS_MAX + 1))):
        chosen = int(rng.integers(len(digits.labels)))
        scan = cast("NDArray[np.float32]", digits.ink[chosen].numpy())
        ink = _scaled(scan, int(rng.integers(HEIGHT_MIN, HEIGHT_MAX + 1)), rng.uniform(ASPECT_MIN, ASPECT_MAX))
        box = _free_place(rng, ink, (width, height), boxes)
        if box is None:
            continue
        _paint(canvas, ink, box, rng)
        boxes.append(box)
        labels.append(int(digits.labels[chosen]))
    noisy = canvas + rng.normal(0, rng.uniform(0, NOISE_MAX), canvas.shape)
    return Scene(noisy.clip(0, 255).astype(np.uint8), np.stack(boxes), np.asarray(labels, dtype=np.int64))


def example(number: int = 0) -> "Image.Image":
    """A held-out scene as an RGB picture, for trying a detector out."""
    return compose_scene(Split.HELD_OUT, number).picture


def _background(rng: "np.random.Generator", width: int, height: int) -> "NDArray[np.float32]":
    """A gradient between two colours in any direction, with up to LINES_MAX stray lines: (height, width, 3)."""
    import numpy as np
    from PIL import Image, ImageDraw

    start = rng.uniform(0, 255, 3)
    end = (start + rng.uniform(-80, 80, 3)).clip(0, 255)
    angle = rng.uniform(0, 2 * np.pi)
    slope: NDArray[np.float64] = (
        np.cos(angle) * np.linspace(0, 1, width) + np.sin(angle) * np.linspace(0, 1, height)[:, None]
    )
    share = ((slope - slope.min()) / np.ptp(slope))[..., None]
    picture = Image.fromarray((start + share * (end - start)).astype(np.uint8))
    draw = ImageDraw.Draw(picture)
    for _ in range(int(rng.integers(LINES_MAX + 1))):
        ends = rng.uniform(0, 1, 4) * (width, height, width, height)
        draw.line(ends.tolist(), fill=tuple(int(c) for c in rng.integers(0, 256, 3)), width=int(rng.integers(1, 3)))
    return np.asarray(picture, dtype=np.float32).copy()


def _scaled(ink: "NDArray[np.float32]", height: int, aspect: float) -> "NDArray[np.float32]":
    """The digit `height` pixels high, cut to where its ink is: (rows, columns), each 0 to 1."""
    import numpy as np
    from PIL import Image

    size = (max(1, round(height * aspect)), height)
    smooth: NDArray[np.float32] = np.asarray(Image.fromarray(ink).resize(size, Image.Resampling.BICUBIC)).clip(0, 1)
    inked = smooth >= INK_IN_BOX
    rows, columns = np.flatnonzero(inked.any(axis=1)), np.flatnonzero(inked.any(axis=0))
    return smooth[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]


def _free_place(
    rng: "np.random.Generator",
    ink: "NDArray[np.float32]",
    size: tuple[int, int],
    taken: "list[NDArray[np.float32]]",
) -> "NDArray[np.float32] | None":
    """A box for the ink that covers nearly nothing of those taken, or None where none was found."""
    import numpy as np

    rows, columns = (int(side) for side in ink.shape)
    for _ in range(PLACES_TRIED):
        x, y = int(rng.integers(size[0] - columns + 1)), int(rng.integers(size[1] - rows + 1))
        box = np.asarray((x, y, x + columns, y + rows), dtype=np.float32)
        if all(_overlap(box, other) <= OVERLAP_MAX for other in taken):
            return box
    return None


def _overlap(one: "NDArray[np.float32]", other: "NDArray[np.float32]") -> float:
    """The area that two boxes share, as a share of the smaller one's."""
    import numpy as np

    shared = (np.minimum(one[2:], other[2:]) - np.maximum(one[:2], other[:2])).clip(0).prod()
    return float(shared / min((one[2:] - one[:2]).prod(), (other[2:] - other[:2]).prod()))


def _paint(
    canvas: "NDArray[np.float32]", ink: "NDArray[np.float32]", box: "NDArray[np.float32]", rng: "np.random.Generator"
) -> None:
    """Put the ink on the canvas in a colour that can be told from what lies under it."""
    import numpy as np

    x0, y0, x1, y1 = (int(bound) for bound in box)
    under = canvas[y0:y1, x0:x1]
    backdrop = float(under.mean((0, 1)) @ np.asarray(LUMINANCE))
    colour = rng.uniform(0, 255, 3)
    while abs(float(colour @ np.asarray(LUMINANCE)) - backdrop) < CONTRAST_MIN:
        colour = rng.uniform(0, 255, 3)
    under += ink[..., None] * (colour - under)
