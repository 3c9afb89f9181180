"""A curve of text: where its ends are, that it has no holes, and that it never gets wider than told."""

import pytest

from modelzoo.command.job_text import duration_text
from modelzoo.command.loss_curve import draw_curve


def test_the_highest_value_is_at_the_top_and_both_ends_are_named():
    lines = draw_curve([(0, 2.0), (50, 1.0), (100, 0.5)], 20, 4)
    assert (lines[0].split()[0], lines[-1].split()[0]) == ("2", "0.5")
    assert len(lines) == 4
    assert all(len(line) <= 20 for line in lines)


def test_a_steep_curve_has_no_holes():
    lines = draw_curve([(0, 0.0), (1, 100.0)], 8, 5, braille=False)
    assert all("*" in line for line in lines)


@pytest.mark.parametrize("points", [[], [(1, 1.0)]])
def test_fewer_than_two_points_are_no_curve(points: list[tuple[float, float]]):
    assert draw_curve(points, 40, 5) == ()


def test_a_level_curve_and_thousands_of_points_are_drawn():
    assert "*" in "".join(draw_curve([(n, 1.0) for n in range(5000)], 30, 3, braille=False))
    assert draw_curve([(7, 1.0), (7, 2.0)], 30, 3)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(None, "-"), (0.2, "0 s"), (59.4, "59 s"), (59.6, "1 min 00 s"), (3600, "1 h 00 min"), (100_000, "1 d 3 h")],
)
def test_durations_read_as_people_say_them(seconds: float | None, text: str):
    assert duration_text(seconds) == text
