"""Which recipe trains a model with some data, and whether what was chosen of it makes sense. Pure functions; the zoo
decides by the same rules, after the data were sent."""

import difflib
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from modelzoo.errors import FailedPrecondition, InvalidArgument
from modelzoo.records import Version
from modelzoo.training_records import Parameter, ParameterValue, Recipe

__all__ = ["Choice", "check_parameters", "choose_recipe", "find_recipe", "missing_columns", "read_value"]

SHOWN = 20
PICTURE = "image"
# What columns of these names name.
FILES = {"audio": "the sounds, as files,", PICTURE: "the pictures, as files,"}
PICTURES_ALONE = "the label of a picture is the name of the folder that it lies in, below that of its split."
_TRUTHS: Mapping[str, bool] = {"true": True, "yes": True, "on": True, "false": False, "no": False, "off": False}
_KINDS: Mapping[str, str] = {
    "BOOL": "true or false",
    "INTEGER": "a whole number",
    "NUMBER": "a finite number",
    "STRING": "a text",
}


@dataclass(frozen=True, slots=True)
class Choice:
    """A recipe, and why it is this one: a part of a sentence."""

    recipe: Recipe
    why: str


def find_recipe(name: str, known: Sequence[Recipe]) -> Recipe:
    """The recipe of that name; RECIPE_UNKNOWN, naming the nearest, where there is none."""
    for recipe in known:
        if recipe.name == name:
            return recipe
    near = difflib.get_close_matches(name, [recipe.name for recipe in known], 1)
    names = ", ".join(recipe.name for recipe in known) or "none: no trainer has been there"
    advice = f"did you mean {near[0]}?" if near else f"there are {names}"
    raise InvalidArgument(
        "RECIPE_UNKNOWN", f"There is no recipe {name[:80]!a}: {advice}", metadata={"nearest": near[0] if near else ""}
    )


def choose_recipe(known: Sequence[Recipe], base: Version, columns: Sequence[str], wanted: str = "") -> Choice:
    """The recipe that is wanted, or else the one that starts from the base's task and finds its columns; of several
    that which leaves the task as it is.

    Raises RECIPE_UNKNOWN, also where none is known or several fit, TASK_MISMATCH and COLUMN_MISSING.
    """
    task = base.facts.task
    if wanted:
        recipe = find_recipe(wanted, known)
        _require_task(base, [recipe])
        _require_columns(columns, [recipe])
        return Choice(recipe, "as you said")
    if not known:
        raise InvalidArgument("RECIPE_UNKNOWN", "No recipe is known: a trainer brings them, and none has been there.")
    of_task = _require_task(base, known)
    fitting = _require_columns(columns, of_task)
    same_task = [recipe for recipe in fitting if recipe.task == task]
    best = same_task or fitting
    if len(best) > 1:
        names = ", ".join(recipe.name for recipe in best)
        raise InvalidArgument(
            "RECIPE_UNKNOWN", f"Several recipes fit {base.reference} and these data: say one of {names}."
        )
    found = " and ".join(f"`{_present(wanted, columns)}`" for wanted in best[0].columns) or "its data"
    rest = len(fitting) > 1 and f", and of {len(fitting)} that do it is the one that makes models of the same task"
    return Choice(best[0], f"it starts from {task or 'any model'} and finds {found}{rest or ''}")


def missing_columns(recipe: Recipe, columns: Iterable[str]) -> list[str]:
    """Those that it needs and that are not there, as it names them."""
    there = set(columns)
    return [wanted for wanted in recipe.columns if not there & set(wanted.split("|"))]


def check_parameters(recipe: Recipe, parameters: Mapping[str, object]) -> dict[str, ParameterValue]:
    """The parameters, if the recipe has them all and each is of its kind and in its range; PARAMETER_UNKNOWN, naming
    the nearest, and PARAMETER_INVALID otherwise."""
    return {name: _checked(recipe, _parameter(recipe, name), value) for name, value in parameters.items()}


def read_value(recipe: Recipe, name: str, text: str) -> ParameterValue:
    """What the text says as a value of the recipe's parameter. Raises as `check_parameters`."""
    parameter = _parameter(recipe, name)
    value: object = text
    match parameter.kind:
        case "BOOL":
            value = _TRUTHS.get(text.lower(), text)
        case "INTEGER" | "NUMBER":
            try:
                value = float(text)
            except ValueError:
                value = text
        case _:
            pass
    return _checked(recipe, parameter, value)


def _parameter(recipe: Recipe, name: str) -> Parameter:
    by_name = {parameter.name: parameter for parameter in recipe.parameters}
    if name in by_name:
        return by_name[name]
    near = difflib.get_close_matches(name, by_name, 1)
    advice = f"did you mean {near[0]}?" if near else f"it has {', '.join(by_name) or 'none'}."
    raise InvalidArgument(
        "PARAMETER_UNKNOWN",
        f"The recipe {recipe.name} has no parameter {name[:80]!a}: {advice}",
        metadata={"parameter": name[:80], "nearest": near[0] if near else ""},
    )


def _checked(recipe: Recipe, parameter: Parameter, value: object) -> ParameterValue:
    """A whole number given as a float of the same value is as good."""
    match parameter.kind, value:
        case "BOOL", bool():
            return value
        case ("INTEGER", int()) | ("NUMBER", int()) if not isinstance(value, bool):
            return _in_range(recipe, parameter, value)
        case "INTEGER", float() if value.is_integer():
            return _in_range(recipe, parameter, int(value))
        case "NUMBER", float() if math.isfinite(value):
            return _in_range(recipe, parameter, value)
        case "STRING", str():
            return value
        case "CHOICE", str() if value in parameter.choices:
            return value
        case _:
            wanted = _KINDS.get(parameter.kind) or f"one of {', '.join(parameter.choices)}"
            raise _invalid(recipe, parameter, value, wanted)


def _in_range(recipe: Recipe, parameter: Parameter, value: int | float) -> int | float:
    low, high = parameter.minimum, parameter.maximum
    too_low = low is not None and (value <= low if parameter.minimum_excluded else value < low)
    too_high = high is not None and (value >= high if parameter.maximum_excluded else value > high)
    if too_low or too_high:
        bounds = [
            "" if low is None else f"{'more than' if parameter.minimum_excluded else 'at least'} {low:g}",
            "" if high is None else f"{'less than' if parameter.maximum_excluded else 'at most'} {high:g}",
        ]
        raise _invalid(recipe, parameter, value, " and ".join(bound for bound in bounds if bound))
    return value


def _invalid(recipe: Recipe, parameter: Parameter, value: object, wanted: str) -> InvalidArgument:
    return InvalidArgument(
        "PARAMETER_INVALID",
        f"{parameter.name} of the recipe {recipe.name} is {wanted}, not {str(value)[:80]!a}.",
        metadata={"parameter": parameter.name},
    )


def _require_task(base: Version, recipes: Sequence[Recipe]) -> list[Recipe]:
    task = base.facts.task
    found = [recipe for recipe in recipes if not recipe.base_tasks or task in recipe.base_tasks]
    if found:
        return found
    starts = ", ".join(sorted({each for recipe in recipes for each in recipe.base_tasks}))
    which = f"The recipe {recipes[0].name} starts" if len(recipes) == 1 else "The recipes start"
    said = f"whose task is {task}" if task else "of which no task is known"
    raise FailedPrecondition(
        "TASK_MISMATCH", f"{which} from models of {starts}, and not from {base.reference}, {said}."
    )


def _require_columns(columns: Sequence[str], recipes: Sequence[Recipe]) -> list[Recipe]:
    found = [recipe for recipe in recipes if not missing_columns(recipe, columns)]
    if found:
        return found
    lacking = [f"{recipe.name} needs {_in_words(missing_columns(recipe, columns))}" for recipe in recipes]
    has = ", ".join(columns[:SHOWN]) + (", ..." if len(columns) > SHOWN else "")
    advice = PICTURES_ALONE if list(columns) == [PICTURE] else _advice([missing_columns(r, columns) for r in recipes])
    raise InvalidArgument("COLUMN_MISSING", f"The data lack a column: {'; '.join(lacking)}. They have {has}: {advice}")


def _advice(missing: Sequence[Sequence[str]]) -> str:
    """Renaming makes no sounds of texts."""
    for names, files in FILES.items():
        if all(names in wanted.split("|") for columns in missing for wanted in columns[:1]):
            return f"put {files} beside the rows, and their names into `{names}`; or rename the column that has them."
    return "rename one of them."


def _in_words(columns: Iterable[str]) -> str:
    return " and ".join(" or ".join(f"`{name}`" for name in wanted.split("|")) for wanted in columns)


def _present(wanted: str, columns: Sequence[str]) -> str:
    return next(name for name in wanted.split("|") if name in columns)
