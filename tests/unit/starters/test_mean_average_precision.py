"""The detector's figure, on answers whose figure is known."""

import numpy as np
import pytest

from zoo_starters.mean_average_precision import Found, mean_average_precision
from zoo_starters.scenes import Scene, Split, compose_scene

SCENES = [compose_scene(Split.HELD_OUT, number) for number in range(20)]


def found(scene: Scene, *, shift: float = 0.0, relabel: int = 0) -> Found:
    """The truth, moved to the right by a part of each box's width, or with another label."""
    moved = scene.boxes + (scene.boxes[:, 2:3] - scene.boxes[:, 0:1]) * np.array([shift, 0, shift, 0])
    return Found(moved, (scene.labels + relabel) % 10, np.ones(len(scene.labels), dtype=np.float32))


def test_the_truth_is_worth_one() -> None:
    figure = mean_average_precision(SCENES, [found(scene) for scene in SCENES])

    assert (figure.overall, figure.at_50) == pytest.approx((1.0, 1.0))


def test_boxes_a_quarter_off_count_at_half_overlap_and_not_at_more() -> None:
    """Their overlap is 0.75 / 1.25 = 0.6: found at 0.50, 0.55 and, but for rounding, 0.60."""
    figure = mean_average_precision(SCENES, [found(scene, shift=0.25) for scene in SCENES])

    assert figure.at_50 > 0.95
    assert 0.19 < figure.overall < 0.31


def test_the_wrong_digit_in_the_right_place_is_worth_little() -> None:
    assert mean_average_precision(SCENES, [found(scene, relabel=1) for scene in SCENES]).at_50 < 0.2


def test_finding_nothing_is_worth_nothing() -> None:
    nothing = Found(np.zeros((0, 4), np.float32), np.zeros(0, np.int64), np.zeros(0, np.float32))

    assert mean_average_precision(SCENES, [nothing] * len(SCENES)).overall == 0
