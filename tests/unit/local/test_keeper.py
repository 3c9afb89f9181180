"""How long a process that keeps failing waits for its next start."""

from zoo_local.keeper import Backoff


def test_waits_double_up_to_the_longest_however_often_it_fails() -> None:
    backoff = Backoff(first_s=0.2, most_s=5.0)
    assert [backoff.after(failures) for failures in (1, 2, 3, 5, 6)] == [0.2, 0.4, 0.8, 3.2, 5.0]
    assert backoff.after(5000) == 5.0  # a process that failed for a day
