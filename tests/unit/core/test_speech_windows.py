"""A long sound in windows."""

import numpy
from hypothesis import given
from hypothesis import strategies as st

from modelzoo.tasks.speech_windows import windows_of

RATE_HZ = 1000


def noise(seconds: float, *, quiet_at_s: float | None = None) -> numpy.ndarray:
    samples = numpy.random.default_rng(7).normal(0, 0.1, int(seconds * RATE_HZ)).astype(numpy.float32)
    if quiet_at_s is not None:
        samples[int((quiet_at_s - 0.1) * RATE_HZ) : int((quiet_at_s + 0.1) * RATE_HZ)] = 0
    return samples


def test_a_short_sound_is_one_window() -> None:
    (window,) = windows_of(noise(29), RATE_HZ, 30)
    assert (window.start_s, len(window.samples)) == (0, 29 * RATE_HZ)


def test_a_long_sound_is_cut_where_it_is_quiet() -> None:
    first, second = windows_of(noise(45, quiet_at_s=24), RATE_HZ, 30)
    assert abs(second.start_s - 24) <= 0.1
    assert len(first.samples) + len(second.samples) == 45 * RATE_HZ


def test_a_silent_window_is_left_out() -> None:
    assert windows_of(numpy.zeros(5 * RATE_HZ, numpy.float32), RATE_HZ, 30) == []


def test_no_sound_has_no_windows() -> None:
    assert windows_of(numpy.empty(0, numpy.float32), RATE_HZ, 30) == []


@given(seconds=st.floats(0.1, 200), longest_s=st.floats(1, 30))
def test_windows_cover_a_sound_that_is_never_silent(seconds: float, longest_s: float) -> None:
    samples = noise(seconds)
    windows = windows_of(samples, RATE_HZ, longest_s)
    assert numpy.array_equal(numpy.concatenate([window.samples for window in windows]), samples)
    assert max(len(window.samples) for window in windows) <= longest_s * RATE_HZ
