"""What trainers can do: recipes with their parameters, as trainers describe them and as they are kept."""

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime
from enum import Enum

from pydantic import TypeAdapter

__all__ = [
    "RECIPE_JSON",
    "Parameter",
    "ParameterKind",
    "ParameterValue",
    "Recipe",
    "description_digest",
    "fits",
    "missing_columns",
]

# What a parameter may be. A Struct on the wire knows floats alone; whole ones are integers here where they are meant.
ParameterValue = bool | int | float | str


class ParameterKind(Enum):
    """By the names of zoo.training.v1.ParameterKind."""

    BOOL = "BOOL"
    INTEGER = "INTEGER"
    NUMBER = "NUMBER"
    STRING = "STRING"
    CHOICE = "CHOICE"


@dataclass(frozen=True, slots=True)
class Parameter:
    """`default` None: the recipe decides by the base and the data. `choices` are those of a CHOICE."""

    name: str
    kind: ParameterKind
    description: str = ""
    default: ParameterValue | None = None
    minimum: float | None = None
    maximum: float | None = None
    minimum_excluded: bool = False
    choices: tuple[str, ...] = ()
    maximum_excluded: bool = False


@dataclass(frozen=True, slots=True)
class Recipe:
    """`columns` are names, or several separated by `|` of which one is enough. `resource_classes` are those of the
    trainers that know it now, `executors` how these run its jobs, in at most so many `processes`, and `digest` is its
    description's: none of them nor `update_time` is part of what a trainer describes. `single_process` says why its
    jobs are of one process, where they are."""

    name: str
    description: str = ""
    base_tasks: tuple[str, ...] = ()
    task: str = ""
    parameters: tuple[Parameter, ...] = ()
    columns: tuple[str, ...] = ()
    metric: str = ""
    lower_is_better: bool = False
    update_time: datetime | None = None
    resource_classes: tuple[str, ...] = ()
    digest: str = ""
    executors: tuple[str, ...] = ()
    processes: int = 0
    single_process: str = ""


RECIPE_JSON = TypeAdapter(Recipe)


def description_digest(recipe: Recipe) -> str:
    """SHA-256, in hexadecimal, of all that a trainer describes: what jobs are checked by, and what people read."""
    said_by_server = {"executors", "processes"}
    plain = replace(recipe, update_time=None, resource_classes=(), digest="")
    described = RECIPE_JSON.dump_python(plain, mode="json", exclude=said_by_server)
    # What came to be said later is no part of descriptions that do not say it: these keep their digests.
    if not described["single_process"]:
        del described["single_process"]
    for parameter in described["parameters"]:
        if not parameter["maximum_excluded"]:
            del parameter["maximum_excluded"]
    return hashlib.sha256(json.dumps(described, sort_keys=True).encode()).hexdigest()


def fits(recipe: Recipe, base_task: str) -> bool:
    """Whether it starts from models of the task; one that names no tasks starts from any."""
    return not recipe.base_tasks or base_task in recipe.base_tasks


def missing_columns(recipe: Recipe, columns: Iterable[str]) -> list[str]:
    """Those that it needs and that are not there, as it names them."""
    there = set(columns)
    return [wanted for wanted in recipe.columns if not there & set(wanted.split("|"))]
