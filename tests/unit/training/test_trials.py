"""Trials of a sweep: all combinations, or drawn ones that are the same for the same seed."""

import math

import pytest

from modelzoo.errors import InvalidArgument
from support.training_zoo import CLASSIFICATION
from zoo_training.trials import TRIALS_MOST, Choices, SweepMethod, trials_of

RATES = Choices(minimum=1e-5, maximum=1e-2, logarithmic=True)
GRID, RANDOM = SweepMethod.GRID, SweepMethod.RANDOM


def test_a_grid_has_every_combination_once_whatever_the_order_of_its_choices() -> None:
    choices = {"schedule": Choices(("linear", "cosine")), "batch_size": Choices((8, 16, 32))}
    made = trials_of(CLASSIFICATION, choices, GRID, 0, 42)
    assert len(made) == 6
    assert made[0] == {"batch_size": 8, "schedule": "linear"}
    assert made == trials_of(CLASSIFICATION, dict(reversed(choices.items())), GRID, 0, 1)


def test_random_trials_are_the_seeds_own_and_lie_in_their_ranges() -> None:
    choices = {"learning_rate": RATES, "batch_size": Choices(minimum=8, maximum=64), "freeze": Choices((True, False))}
    made = trials_of(CLASSIFICATION, choices, RANDOM, 200, 42)
    assert (
        made
        == trials_of(CLASSIFICATION, choices, RANDOM, 200, 42)
        != trials_of(CLASSIFICATION, choices, RANDOM, 200, 43)
    )
    assert all(1e-5 <= trial["learning_rate"] <= 1e-2 for trial in made)
    assert all(isinstance(trial["batch_size"], int) and 8 <= trial["batch_size"] <= 64 for trial in made)
    # By the logarithm, a third of them lie in each power of ten.
    assert 40 < sum(trial["learning_rate"] < 1e-4 for trial in made) < 95


def test_no_trial_is_drawn_twice() -> None:
    made = trials_of(CLASSIFICATION, {"batch_size": Choices((8, 16, 32, 64))}, RANDOM, 4, 7)
    assert sorted(trial["batch_size"] for trial in made) == [8, 16, 32, 64]


@pytest.mark.parametrize(
    ("choices", "method", "trials", "says"),
    [
        ({}, GRID, 0, "no choices"),
        ({"learning_rate": Choices()}, GRID, 0, "neither values nor a range"),
        ({"learning_rate": RATES}, GRID, 0, "is a range"),
        ({"learning_rate": Choices(minimum=2, maximum=1)}, RANDOM, 3, "not below its maximum"),
        ({"learning_rate": Choices(minimum=math.nan, maximum=1)}, RANDOM, 3, "not below"),
        ({"learning_rate": Choices(minimum=0, maximum=1, logarithmic=True)}, RANDOM, 3, "has none"),
        ({"batch_size": Choices((8, 8))}, GRID, 0, "a value twice"),
        ({"batch_size": Choices(tuple(range(1, 18))), "prefix": Choices(tuple("abcdefghijklmnopq"))}, GRID, 0, "289"),
        ({"batch_size": Choices((8, 16))}, RANDOM, 3, "only 2 were found"),
        ({"learning_rate": RATES}, RANDOM, 0, "from 1 to 256"),
        ({"learning_rate": RATES}, RANDOM, TRIALS_MOST + 1, "from 1 to 256"),
    ],
)
def test_choices_that_make_no_trials_are_refused(
    choices: dict[str, Choices], method: SweepMethod, trials: int, says: str
) -> None:
    with pytest.raises(InvalidArgument, match=says) as caught:
        trials_of(CLASSIFICATION, choices, method, trials, 42)
    assert caught.value.reason == "SWEEP_INVALID"
