"""A recipe's parameters as people choose them: each is checked against its description, and defaults are filled in."""

import math
from collections.abc import Mapping
from dataclasses import replace
from difflib import get_close_matches

from modelzoo.errors import InvalidArgument
from zoo_training.recipe import Parameter, ParameterKind, ParameterValue, Recipe

__all__ = ["check_parameter", "checked_recipe", "complete_parameters", "nearest"]

TEXT_CHARACTERS_MAX = 4096
SHOWN_CHARACTERS_MAX = 80
# Beyond it a double does not tell whole numbers apart.
WHOLE_MAX = 2**53


def complete_parameters(recipe: Recipe, chosen: Mapping[str, object]) -> dict[str, ParameterValue]:
    """What holds: the chosen ones, and the defaults of the others in the recipe's order; without those that the recipe
    decides itself. None as a value means the default.

    Raises PARAMETER_UNKNOWN, with the nearest name, and PARAMETER_INVALID.
    """
    known = {parameter.name: parameter for parameter in recipe.parameters}
    for name in chosen:
        if name not in known:
            raise _unknown(recipe, name, known)
    held: dict[str, ParameterValue] = {}
    for parameter in recipe.parameters:
        value = chosen.get(parameter.name)
        given = parameter.default if value is None else check_parameter(parameter, value)
        if given is not None:
            held[parameter.name] = given
    return held


def check_parameter(parameter: Parameter, value: object) -> ParameterValue:
    """The value in its kind's own type, or PARAMETER_INVALID, which says what would be right."""
    match parameter.kind:
        case ParameterKind.BOOL:
            if isinstance(value, bool):
                return value
            raise _invalid(parameter, value, "true or false")
        case ParameterKind.INTEGER:
            number = _finite(parameter, value)
            if number != int(number) or abs(number) > WHOLE_MAX:
                raise _invalid(parameter, value, "a whole number")
            return int(_in_range(parameter, number))
        case ParameterKind.NUMBER:
            return float(_in_range(parameter, _finite(parameter, value)))
        case ParameterKind.STRING:
            if isinstance(value, str) and len(value) <= TEXT_CHARACTERS_MAX:
                return value
            raise _invalid(parameter, value, f"a text of at most {TEXT_CHARACTERS_MAX:,} characters")
        case ParameterKind.CHOICE:
            if isinstance(value, str) and value in parameter.choices:
                return value
            raise _invalid(parameter, value, f"one of {', '.join(parameter.choices)}")


def checked_recipe(recipe: Recipe) -> Recipe:
    """The recipe with its defaults in their kinds' own types. Raises FIELD_INVALID where its description contradicts
    itself: jobs would be refused for what no user did."""
    names = [parameter.name for parameter in recipe.parameters]
    if twice := {name for name in names if names.count(name) > 1}:
        raise _misdescribed(recipe, f"describes the parameter '{min(twice)}' twice")
    return replace(recipe, parameters=tuple(_checked(recipe, parameter) for parameter in recipe.parameters))


def nearest(name: str, names: Mapping[str, object] | list[str]) -> str:
    """The name that was probably meant, or ''."""
    found = get_close_matches(name.casefold().replace("-", "_"), list(names), n=1, cutoff=0.5)
    return found[0] if found else ""


def _checked(recipe: Recipe, parameter: Parameter) -> Parameter:
    if parameter.kind is ParameterKind.CHOICE and not parameter.choices:
        raise _misdescribed(recipe, f"gives the parameter '{parameter.name}' no choices")
    low, high = parameter.minimum, parameter.maximum
    if low is not None and high is not None and low > high:
        raise _misdescribed(recipe, f"gives the parameter '{parameter.name}' a minimum above its maximum")
    if parameter.default is None:
        return parameter
    try:
        return replace(parameter, default=check_parameter(parameter, parameter.default))
    except InvalidArgument as error:
        raise _misdescribed(recipe, f"has a default that it would refuse: {error.message}") from error


def _finite(parameter: Parameter, value: object) -> float:
    wanted = "a whole number" if parameter.kind is ParameterKind.INTEGER else "a number"
    # bool is an int to Python.
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise _invalid(parameter, value, wanted)
    if not math.isfinite(value):
        raise _invalid(parameter, value, f"{wanted} that is finite")
    return value


def _in_range(parameter: Parameter, number: float) -> float:
    low, high = parameter.minimum, parameter.maximum
    below = low is not None and (number <= low if parameter.minimum_excluded else number < low)
    above = high is not None and (number >= high if parameter.maximum_excluded else number > high)
    if below or above:
        raise _invalid(parameter, number, _range(parameter))
    return number


def _range(parameter: Parameter) -> str:
    """In words, for a parameter that has one."""
    limits: list[str] = []
    if parameter.minimum is not None:
        limits.append(f"{'more than' if parameter.minimum_excluded else 'at least'} {parameter.minimum:g}")
    if parameter.maximum is not None:
        limits.append(f"{'less than' if parameter.maximum_excluded else 'at most'} {parameter.maximum:g}")
    return " and ".join(limits)


def _invalid(parameter: Parameter, value: object, wanted: str) -> InvalidArgument:
    shown = "what was given" if isinstance(value, dict | list) else f"{value!r:.{SHOWN_CHARACTERS_MAX}}"
    default = "" if parameter.default is None else f", such as its default {parameter.default!r}"
    meant = f" {parameter.description}" if parameter.description else ""
    return InvalidArgument(
        "PARAMETER_INVALID",
        f"the parameter '{parameter.name}' is {wanted}, not {shown}: choose {wanted}{default}.{meant}",
        field=f"parameters.{parameter.name}",
        metadata={"parameter": parameter.name, "wanted": wanted},
    )


def _misdescribed(recipe: Recipe, problem: str) -> InvalidArgument:
    return InvalidArgument(
        "FIELD_INVALID",
        f"the recipe '{recipe.name}' {problem}; mend its description and register again",
        field="recipes",
        metadata={"field": "recipes", "recipe": recipe.name},
    )


def _unknown(recipe: Recipe, name: str, known: Mapping[str, Parameter]) -> InvalidArgument:
    shown = name[:SHOWN_CHARACTERS_MAX]
    near = nearest(name, known)
    advice = f"did you mean '{near}'?" if near else f"it has {', '.join(known) or 'none'}"
    return InvalidArgument(
        "PARAMETER_UNKNOWN",
        f"the recipe '{recipe.name}' has no parameter {shown!r}: {advice}",
        field=f"parameters.{shown}",
        metadata={"parameter": shown, "nearest": near},
    )
