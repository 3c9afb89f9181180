"""The parameters of a sweep's trials: every combination of values, or some drawn by a seed. Pure functions."""

import itertools
import math
import random
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum

from pydantic import TypeAdapter

from modelzoo.errors import InvalidArgument
from zoo_training.recipe import ParameterKind, ParameterValue, Recipe

__all__ = ["CHOICES_JSON", "Choices", "SweepMethod", "trials_of"]

TRIALS_MOST = 256
# Draws for one trial that was not drawn before.
DRAWS_MOST = 100


class SweepMethod(Enum):
    """By the names of zoo.training.v1.SweepMethod."""

    GRID = "GRID"
    RANDOM = "RANDOM"


@dataclass(frozen=True, slots=True)
class Choices:
    """Values, or where there are none the range from `minimum` to `maximum`."""

    values: tuple[ParameterValue, ...] = ()
    minimum: float = 0.0
    maximum: float = 0.0
    logarithmic: bool = False


CHOICES_JSON = TypeAdapter(dict[str, Choices])


def trials_of(
    recipe: Recipe, choices: Mapping[str, Choices], method: SweepMethod, trials: int, seed: int
) -> list[dict[str, ParameterValue]]:
    """What each trial chooses, in their order; the same for the same arguments, whatever the order of the choices.

    Raises SWEEP_INVALID. That the values are ones that the recipe takes is checked with the trial's other parameters.
    """
    if not choices:
        raise _invalid("it has no choices: name a parameter and its values")
    ordered = dict(sorted(choices.items()))
    for name, choice in ordered.items():
        _check(name, choice)
    if method is SweepMethod.GRID:
        return _grid(ordered)
    return _random(recipe, ordered, trials, seed)


def _grid(choices: Mapping[str, Choices]) -> list[dict[str, ParameterValue]]:
    for name, choice in choices.items():
        if not choice.values:
            raise _invalid(f"'{name}' is a range, which a grid has no steps for: list values, or choose RANDOM")
    count = math.prod(len(choice.values) for choice in choices.values())
    if count > TRIALS_MOST:
        raise _invalid(f"its grid has {count:,} combinations, and {TRIALS_MOST} are the most: choose RANDOM, or less")
    combinations = itertools.product(*(choice.values for choice in choices.values()))
    return [dict(zip(choices, combination, strict=True)) for combination in combinations]


def _random(recipe: Recipe, choices: Mapping[str, Choices], trials: int, seed: int) -> list[dict[str, ParameterValue]]:
    if not 1 <= trials <= TRIALS_MOST:
        raise _invalid(f"RANDOM draws 'trials' of them, from 1 to {TRIALS_MOST}, and here it is {trials}")
    whole = {parameter.name for parameter in recipe.parameters if parameter.kind is ParameterKind.INTEGER}
    # Reproducible, not secret.
    source = random.Random(seed)  # noqa: S311
    drawn: list[dict[str, ParameterValue]] = []
    for _ in range(trials):
        for _ in range(DRAWS_MOST):
            trial = {name: _draw(source, choice, name in whole) for name, choice in choices.items()}
            if trial not in drawn:
                drawn.append(trial)
                break
        else:
            raise _invalid(
                f"its choices make no {trials} different trials, only {len(drawn)} were found: ask for fewer"
            )
    return drawn


def _draw(source: random.Random, choice: Choices, whole: bool) -> ParameterValue:
    if choice.values:
        return source.choice(choice.values)
    if choice.logarithmic:
        value = math.exp(source.uniform(math.log(choice.minimum), math.log(choice.maximum)))
    else:
        value = source.uniform(choice.minimum, choice.maximum)
    # Six digits are read more easily than seventeen; within the range all the same.
    value = min(max(float(f"{value:.6g}"), choice.minimum), choice.maximum)
    return round(value) if whole else value


def _check(name: str, choice: Choices) -> None:
    if choice.values:
        if len(set(map(repr, choice.values))) < len(choice.values):
            raise _invalid(f"'{name}' has a value twice: the same job would run twice")
        return
    if not (math.isfinite(choice.minimum) and math.isfinite(choice.maximum)) or choice.minimum >= choice.maximum:
        raise _invalid(
            f"'{name}' has neither values nor a range: its minimum {choice.minimum:g} is not below its maximum "
            f"{choice.maximum:g}"
        )
    if choice.logarithmic and choice.minimum <= 0:
        raise _invalid(
            f"'{name}' is drawn by its logarithm, and its minimum {choice.minimum:g} has none: choose one > 0"
        )


def _invalid(problem: str) -> InvalidArgument:
    return InvalidArgument("SWEEP_INVALID", f"this sweep cannot be made: {problem}", field="sweep.choices")
