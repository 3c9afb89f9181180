"""`zoo recipes`: the ways in which models are trained."""

from typing import TYPE_CHECKING, Annotated

import typer

from modelzoo.command.session import open_client
from modelzoo.command.terminal import answer, line, print_table

if TYPE_CHECKING:
    from modelzoo.training_records import Parameter, Recipe

__all__ = ["register"]

EXAMPLES = """\
Examples:

\b
  zoo recipes
  zoo recipes --task fill-mask
  zoo recipes text-classification
"""


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("recipes", epilog=EXAMPLES)(recipes)


def recipes(
    name: Annotated[str, typer.Argument(metavar="[NAME]", help="Show this one with its parameters.")] = "",
    task: Annotated[str, typer.Option(help="Only those that start from models of this task.")] = "",
) -> None:
    """List the recipes: what each starts from, what it makes, which columns the data need. With NAME, what it does, and
    what `zoo finetune --set` can choose of it: defaults, ranges and what they mean. Trainers bring recipes."""
    from modelzoo.recipe_choice import find_recipe

    with open_client() as client:
        found = client.jobs.recipes(task)
    if name:
        recipe = find_recipe(name, found)
        answer(recipe, lambda: _print_one(recipe))
        return
    answer({"recipes": found}, lambda: _print_all(found))


def _print_all(found: "tuple[Recipe, ...]") -> None:
    if not found:
        line("no trainer has brought a recipe yet")
        return
    print_table(
        ("RECIPE", "STARTS FROM", "MAKES", "COLUMNS", "RUNS ON"),
        [
            (
                recipe.name,
                ", ".join(recipe.base_tasks) or "any",
                recipe.task or "-",
                ", ".join(recipe.columns) or "-",
                ", ".join(recipe.resource_classes) or "no trainer now",
            )
            for recipe in found
        ],
    )


def _print_one(recipe: "Recipe") -> None:
    line(recipe.name)
    line(recipe.description)
    line()
    better = "lower is better" if recipe.lower_is_better else "higher is better"
    print_table(
        ("FACT", "VALUE"),
        [
            ("starts from", ", ".join(recipe.base_tasks) or "any task"),
            ("makes", recipe.task or "-"),
            ("columns", " and ".join(names.replace("|", " or ") for names in recipe.columns) or "-"),
            ("metric", f"{recipe.metric}, {better}" if recipe.metric else "-"),
            ("runs on", ", ".join(recipe.resource_classes) or "no trainer now"),
            ("executors", ", ".join(recipe.executors) or "-"),
            ("processes", _processes(recipe)),
        ],
    )
    if recipe.parameters:
        line()
        print_table(
            ("PARAMETER", "DEFAULT", "MAY BE", "WHAT IT DOES"),
            [(each.name, _default(each), _range(each), each.description) for each in recipe.parameters],
        )


def _processes(recipe: "Recipe") -> str:
    if recipe.single_process:
        return f"one. {recipe.single_process}"
    return f"at most {recipe.processes}" if recipe.processes else "-"


def _default(parameter: "Parameter") -> str:
    match parameter.default:
        case None:
            return "by the data"
        case bool():
            return str(parameter.default).lower()
        case float():
            return f"{parameter.default:g}"
        case _:
            return str(parameter.default)


def _range(parameter: "Parameter") -> str:
    match parameter.kind:
        case "CHOICE":
            return " | ".join(parameter.choices)
        case "BOOL":
            return "true | false"
        case "STRING":
            return "text"
        case _:
            kind = "whole" if parameter.kind == "INTEGER" else "number"
            return f"{kind} {_limits(parameter)}".strip()


def _limits(parameter: "Parameter") -> str:
    """`8 to 8,192`, `above 0, to 1`, `0 to below 1`, `from 1`; '' where there are no limits."""
    low, high = parameter.minimum, parameter.maximum
    upper = "" if high is None else f"to {'below ' if parameter.maximum_excluded else ''}{_number(high)}"
    if low is None:
        return upper
    if parameter.minimum_excluded:
        return f"above {_number(low)}, {upper}".removesuffix(", ")
    return f"{_number(low)} {upper}" if upper else f"from {_number(low)}"


def _number(value: float) -> str:
    return f"{round(value):,}" if value == round(value) else f"{value:g}"
