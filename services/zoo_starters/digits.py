"""Handwritten digits: real ones, split once, and pictures made of them as people take them.

The handwriting is scikit-learn's copy of the test half of the UCI set "Optical recognition of handwritten digits"
(Alpaydin and Kaynak 1998): 1,797 of 8 x 8 pixels by 13 people, ink from 0 to 16, light on dark. Who wrote which is not
recorded, so both splits have digits by the same hands.
"""

import hashlib
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any, cast

if TYPE_CHECKING:
    import torch

__all__ = ["CLASSES", "ORIGIN", "Digits", "compose", "held_out_digits", "training_digits"]

CLASSES = tuple("0123456789")
ORIGIN = "https://archive.ics.uci.edu/dataset/80, as scikit-learn has it"

INK_MAX = 16
# One in five is held out: those whose pixels' digest begins with a byte below this. Copies fall on the same side.
HELD_OUT_BELOW = 51

# Of composed pictures. A digit is at least this part of the picture's side, and turned by at most so many radians.
SCALE_MIN, SCALE_MAX = 0.45, 1.0
TURN_MAX = 0.26
SHEAR_MAX = 0.2
CONTRAST_MIN = 0.35
# How much steeper the edge of a stroke may be than bicubic enlargement leaves it, and where the edge may lie.
STEEPNESS_MAX = 6.0
EDGE_MIN, EDGE_MAX = 0.3, 0.6
NOISE_MAX = 0.08


@dataclass(frozen=True, slots=True)
class Digits:
    """`ink` is float32 (n, 8, 8) in [0, 1]; `labels` is int64 (n,) in [0, 10)."""

    ink: "torch.Tensor"
    labels: "torch.Tensor"


def training_digits() -> Digits:
    """About four in five of the digits."""
    return _split()[0]


def held_out_digits() -> Digits:
    """The others."""
    return _split()[1]


def compose(ink: "torch.Tensor", side: int, generator: "torch.Generator") -> "torch.Tensor":
    """Pictures, float32 (n, 3, side, side) in [0, 1], one for each of `ink` (n, 8, 8).

    Each digit is somewhere in its picture, of any size from about half of it, a little turned and slanted, its strokes
    soft or sharp, thick or thin, in one colour on another: light on dark as often as dark on light. A quarter fill
    their picture as the scans do.
    """
    import torch
    from torch.nn.functional import affine_grid, grid_sample

    count = len(ink)

    def draw(low: float, high: float, *shape: int) -> torch.Tensor:
        return torch.empty(count, *(shape or (1,))).uniform_(low, high, generator=generator)

    as_scanned = draw(0, 1) < 0.25
    scale = torch.where(as_scanned, draw(0.9, 1.0), draw(SCALE_MIN, SCALE_MAX))
    turn = draw(-TURN_MAX, TURN_MAX)
    shear = draw(-SHEAR_MAX, SHEAR_MAX)
    aspect = draw(0.85, 1.15)
    # affine_grid maps the picture's coordinates, [-1, 1] on both axes, to the ink's.
    across, up = turn.cos() / scale, turn.sin() / scale
    away = draw(-1, 1, 2) * (1 - scale)
    linear = torch.stack([across * aspect, -up + shear * across, up * aspect, across], dim=-1).reshape(count, 2, 2)
    matrix = torch.cat([linear, -(linear @ away[:, :, None])], dim=2)
    grid = affine_grid(matrix, [count, 1, side, side], align_corners=False)
    stroke = grid_sample(ink[:, None], grid, mode="bicubic", padding_mode="zeros", align_corners=False).clamp(0, 1)

    steepness = torch.where(as_scanned, torch.ones(count, 1), draw(1, STEEPNESS_MAX))[:, :, None, None]
    edge = draw(EDGE_MIN, EDGE_MAX)[:, :, None, None]
    sharp = ((stroke - edge) * steepness + edge).clamp(0, 1)
    stroke = torch.where(steepness == 1, stroke, sharp)

    paper = draw(0, 1)
    far = torch.where(paper < 0.5, draw(0, 1) * (1 - CONTRAST_MIN - paper) + paper + CONTRAST_MIN, 0)
    near = torch.where(paper >= 0.5, draw(0, 1) * (paper - CONTRAST_MIN), 0)
    tint = draw(-0.15, 0.15, 2, 3)
    colours = (torch.stack([paper, far + near], dim=1) + tint).clamp(0, 1)[:, :, :, None, None]
    picture = colours[:, 0] + stroke * (colours[:, 1] - colours[:, 0])
    noise = torch.randn(picture.shape, generator=generator) * draw(0, NOISE_MAX)[:, :, None, None]
    return (picture + noise).clamp(0, 1)


@cache
def _split() -> tuple[Digits, Digits]:
    import torch
    from sklearn import datasets

    bunch = cast(Any, datasets.load_digits())
    held_out = torch.tensor([hashlib.sha256(each.tobytes()).digest()[0] < HELD_OUT_BELOW for each in bunch.images])
    ink = torch.tensor(bunch.images, dtype=torch.float32) / INK_MAX
    labels = torch.tensor(bunch.target, dtype=torch.int64)
    return Digits(ink[~held_out], labels[~held_out]), Digits(ink[held_out], labels[held_out])
