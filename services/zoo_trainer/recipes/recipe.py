"""What a recipe is, which there are, and what is told of them to the training service."""

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from importlib.metadata import entry_points
from typing import Any, cast

from pydantic import ValidationError

from modelzoo.errors import InvalidArgument
from zoo.training.v1 import recipe_pb2 as pb
from zoo_trainer.recipes.descriptor import parameters_of
from zoo_trainer.recipes.learner import Learner, Start
from zoo_trainer.recipes.settings import TrainingSettings

__all__ = ["Recipe", "find_recipe", "known_recipes"]

GROUP = "zoo.recipes"
BUILT_IN = (
    "text_classification",
    "causal_lm",
    "image_classification",
    "object_detection",
    "speech_recognition",
    "token_classification",
    "sentence_embeddings",
    "sentence_similarity",
)


@dataclass(frozen=True, slots=True)
class Recipe:
    """`settings` is a class; `start` makes what learns from a base and rows. `columns` are those that the dataset
    needs, of several names that are parted by `|` one. `metric` is that by which results are compared.

    Where memory ends, half as many examples are computed at once, but never fewer than `least_at_once`; `when_halved`
    is a sentence for people on what else that changes. Where several processes would learn something else than one,
    `single_process` says why, and they are refused."""

    name: str
    settings: type[TrainingSettings]
    start: Callable[[Start[Any]], Learner]
    base_tasks: tuple[str, ...]
    task: str
    columns: tuple[str, ...]
    metric: str
    lower_is_better: bool = False
    when_halved: str = ""
    least_at_once: int = 1
    single_process: str = ""

    def read_settings(self, parameters: Mapping[str, Any]) -> TrainingSettings:
        """The settings with these where they differ from the defaults. PARAMETER_INVALID, naming each that is wrong."""
        whole = {name: _as_integer(value) for name, value in parameters.items()}
        try:
            return self.settings.model_validate(whole)
        except ValidationError as error:
            faults = "; ".join(f"{'.'.join(map(str, each['loc']))}: {each['msg']}" for each in error.errors())
            raise InvalidArgument("PARAMETER_INVALID", f"Recipe {self.name} cannot be run so: {faults}.") from error

    def describe(self) -> pb.Recipe:
        """What the training service is told; the description is the docstring of the recipe's module."""
        module = inspect.getmodule(self.settings)
        return pb.Recipe(
            name=self.name,
            description=inspect.cleandoc(module.__doc__ or self.name) if module else self.name,
            base_tasks=self.base_tasks,
            task=self.task,
            parameters=parameters_of(self.settings),
            columns=self.columns,
            metric=self.metric,
            lower_is_better=self.lower_is_better,
            single_process=self.single_process,
        )


@cache
def known_recipes() -> Mapping[str, Recipe]:
    """Every recipe by its name: those here, and those of others, which may replace them."""
    found = [import_module(f"zoo_trainer.recipes.{module}").RECIPE for module in BUILT_IN]
    found += [entry.load() for entry in entry_points(group=GROUP)]
    return {recipe.name: recipe for recipe in cast(list[Recipe], found)}


def find_recipe(name: str) -> Recipe:
    """RECIPE_UNKNOWN where there is none of that name."""
    recipe = known_recipes().get(name)
    if recipe is None:
        known = ", ".join(sorted(known_recipes()))
        raise InvalidArgument("RECIPE_UNKNOWN", f"This trainer has no recipe {name[:80]!a}; it has {known}.")
    return recipe


def _as_integer(value: Any) -> Any:
    """Numbers come as JSON's, which are all of one kind; 3.0 is as good a whole number as 3."""
    return int(value) if isinstance(value, float) and value.is_integer() else value
