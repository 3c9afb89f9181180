"""What the training service is told of recipes, and what their settings take."""

import subprocess
import sys

import pytest

from modelzoo.errors import InvalidArgument
from zoo.training.v1 import recipe_pb2 as pb
from zoo_trainer.recipes import find_recipe, known_recipes


def parameters(recipe: str) -> dict[str, pb.Parameter]:
    return {each.name: each for each in find_recipe(recipe).describe().parameters}


def test_every_recipe_explains_itself_and_each_parameter() -> None:
    assert {"text-classification", "causal-lm"} <= known_recipes().keys()
    for recipe in known_recipes().values():
        told = recipe.describe()
        assert told.description.startswith("# ")
        assert told.columns
        assert told.base_tasks
        assert all(len(each.description) > 10 for each in told.parameters), recipe.name


def test_limits_choices_and_defaults_are_those_of_the_settings() -> None:
    told = parameters("causal-lm")
    rate = told["learning_rate"]
    assert (rate.kind, rate.minimum, rate.minimum_excluded, rate.maximum) == (pb.PARAMETER_KIND_NUMBER, 0, True, 1000)
    assert rate.default_value.number_value == 2e-4
    dropout = told["lora_dropout"]
    assert (dropout.minimum, dropout.minimum_excluded, dropout.maximum, dropout.maximum_excluded) == (0, False, 1, True)
    method = told["method"]
    assert (method.kind, list(method.choices)) == (pb.PARAMETER_KIND_CHOICE, ["lora", "full"])
    assert method.default_value.string_value == "lora"
    assert told["packing"].kind == pb.PARAMETER_KIND_BOOL
    assert told["lora_rank"].kind == pb.PARAMETER_KIND_INTEGER
    # A recipe's own come first.
    assert next(iter(told)) == "method"


def test_whole_numbers_may_come_as_json_has_them() -> None:
    assert find_recipe("causal-lm").read_settings({"lora_rank": 8.0}).model_dump()["lora_rank"] == 8
    with pytest.raises(InvalidArgument) as caught:
        find_recipe("causal-lm").read_settings({"lora_rank": float("nan"), "packing": "yes"})
    assert "lora_rank" in caught.value.message
    assert caught.value.reason == "PARAMETER_INVALID"


def test_an_unknown_recipe_is_refused_with_those_that_there_are() -> None:
    with pytest.raises(InvalidArgument, match=r"it has causal-lm, .*text-classification"):
        find_recipe("gardening")


def test_describing_recipes_and_the_agent_need_no_torch() -> None:
    program = (
        "import sys, zoo_trainer.main; from zoo_trainer.recipes import known_recipes; "
        "[each.describe() for each in known_recipes().values()]; "
        "sys.exit(any(name in sys.modules for name in ('torch', 'transformers', 'peft')))"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
