"""Parameters: each is what its description says or is refused with what would be right; defaults are filled in."""

import math
from dataclasses import replace
from typing import Any

import pytest

from modelzoo.errors import InvalidArgument
from support.training_zoo import CLASSIFICATION
from zoo_training.parameters import checked_recipe, complete_parameters
from zoo_training.recipe import Parameter, ParameterKind, Recipe, description_digest


def refused(name: str, value: Any) -> InvalidArgument:
    with pytest.raises(InvalidArgument) as caught:
        complete_parameters(CLASSIFICATION, {name: value})
    assert caught.value.metadata["parameter"] == name
    assert caught.value.field == f"parameters.{name}"
    return caught.value


def test_defaults_are_filled_in_and_what_the_recipe_decides_is_left_open() -> None:
    held = complete_parameters(CLASSIFICATION, {"learning_rate": 1, "batch_size": 8.0, "schedule": None})
    assert held == {
        "learning_rate": 1.0,
        "batch_size": 8,
        "epochs": 3.0,
        "warmup": 0.1,
        "freeze": False,
        "schedule": "linear",
    }
    assert isinstance(held["batch_size"], int)


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        ("learning_rate", "1e-5", "a number, not '1e-5'"),
        ("learning_rate", math.nan, "a number that is finite, not nan"),
        ("learning_rate", math.inf, "finite"),
        ("learning_rate", True, "a number, not True"),
        ("learning_rate", 1e9, "more than 0 and at most 10, not 1000000000.0"),
        ("learning_rate", 0, "more than 0"),
        ("epochs", 0.0, "more than 0"),
        ("epochs", -1, "more than 0"),
        ("batch_size", 0, "at least 1"),
        ("batch_size", 1.5, "a whole number, not 1.5"),
        ("batch_size", 2.0**60, "a whole number"),
        ("batch_size", math.nan, "finite"),
        ("batch_size", {"a": 1}, "not what was given"),
        ("freeze", 1, "true or false, not 1"),
        ("freeze", "yes", "true or false"),
        ("schedule", "cosinus", "one of linear, cosine, not 'cosinus'"),
        ("schedule", 3, "one of linear, cosine"),
        ("prefix", 3, "a text"),
        ("prefix", "x" * 5000, "4,096"),
        ("prefix", ["x"], "a text"),
    ],
)
def test_a_wrong_value_is_refused_with_what_would_be_right(name: str, value: Any, says: str) -> None:
    error = refused(name, value)
    assert error.reason == "PARAMETER_INVALID"
    assert says in error.message


def test_a_bound_that_is_excluded_is_refused_and_descriptions_without_one_keep_their_digest() -> None:
    dropout = Parameter("dropout", ParameterKind.NUMBER, minimum=0.0, maximum=1.0, maximum_excluded=True)
    recipe = replace(CLASSIFICATION, parameters=(dropout,))
    assert complete_parameters(recipe, {"dropout": 0.99}) == {"dropout": 0.99}
    with pytest.raises(InvalidArgument, match="at least 0 and less than 1, not 1"):
        complete_parameters(recipe, {"dropout": 1})
    plain = replace(recipe, parameters=(replace(dropout, maximum_excluded=False),))
    assert (
        description_digest(plain)
        == "1503fd66f84cf0bea6f3c2effe3820486fb878a5f1aee41c78866854caa7d5f2"
        != description_digest(recipe)
    )


@pytest.mark.parametrize(
    ("name", "nearest"), [("learning-rate", "learning_rate"), ("lerning_rate", "learning_rate"), ("zzz", "")]
)
def test_an_unknown_parameter_is_refused_with_the_nearest_name(name: str, nearest: str) -> None:
    error = refused(name, 1)
    assert (error.reason, error.metadata["nearest"]) == ("PARAMETER_UNKNOWN", nearest)
    assert (f"did you mean '{nearest}'" if nearest else "it has learning_rate, batch_size") in error.message


@pytest.mark.parametrize(
    ("parameter", "says"),
    [
        (Parameter("a", ParameterKind.CHOICE), "no choices"),
        (Parameter("a", ParameterKind.NUMBER, minimum=2.0, maximum=1.0), "a minimum above its maximum"),
        (Parameter("a", ParameterKind.INTEGER, default=1.5), "a default that it would refuse"),
    ],
)
def test_a_recipe_that_contradicts_itself_is_refused(parameter: Parameter, says: str) -> None:
    with pytest.raises(InvalidArgument, match=says):
        checked_recipe(Recipe("r", parameters=(parameter,)))


def test_a_recipe_that_describes_a_parameter_twice_is_refused() -> None:
    twice = replace(CLASSIFICATION, parameters=CLASSIFICATION.parameters + CLASSIFICATION.parameters[:1])
    with pytest.raises(InvalidArgument, match="'learning_rate' twice"):
        checked_recipe(twice)
