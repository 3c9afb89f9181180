"""`zoo metrics`: what was measured with a version."""

import math
from typing import TYPE_CHECKING, Annotated

import typer

from modelzoo.command.arguments import ReferenceArgument
from modelzoo.command.session import open_client
from modelzoo.command.terminal import answer, print_table, short_time

if TYPE_CHECKING:
    from modelzoo.records import Metric

__all__ = ["metric_rows", "register"]

app = typer.Typer(help="Set and show what was measured with a version.", no_args_is_help=True)


def register(root: typer.Typer) -> None:
    """Add the group."""
    root.add_typer(app, name="metrics")


@app.command("set")
def set_metrics(
    ref: ReferenceArgument,
    dataset: Annotated[
        str, typer.Argument(metavar="DATASET", help="What it was measured with: a reference, or a free name.")
    ],
    values: Annotated[list[str], typer.Argument(metavar="NAME=NUMBER...", help="Such as `accuracy=0.91`.")],
    split: Annotated[str, typer.Option(help="The part of the dataset, such as `test`.")] = "",
) -> None:
    """Set metrics of a version, in place of those of the same dataset, split and name. Others stay. The card's
    model-index is read when a version is published."""
    numbers = dict(_number(text) for text in values)
    with open_client() as client:
        version = client.manage.set_metrics(ref, dataset, numbers, split=split)
    answer({"reference": version.reference, "metrics": version.metrics}, lambda: _print(version.metrics))


@app.command("show")
def show(ref: ReferenceArgument) -> None:
    """Show a version's metrics."""
    with open_client() as client:
        version = client.version(ref)
    answer({"reference": version.reference, "metrics": version.metrics}, lambda: _print(version.metrics))


def metric_rows(metrics: "tuple[Metric, ...]") -> list[tuple[str, str, str, str]]:
    """Dataset, split, name and value of each."""
    return [(each.dataset, each.split or "-", each.name, f"{each.value:g}") for each in metrics]


def _number(text: str) -> tuple[str, float]:
    name, _, number = text.partition("=")
    try:
        value = float(number)
    except ValueError:
        value = math.nan
    if not name or not math.isfinite(value):
        raise typer.BadParameter(f"{text!a} is not NAME=NUMBER.", param_hint="NAME=NUMBER")
    return name, value


def _print(metrics: "tuple[Metric, ...]") -> None:
    rows = zip(metric_rows(metrics), metrics, strict=True)
    print_table(
        ("DATASET", "SPLIT", "NAME", "VALUE", "SET"), [(*row, short_time(metric.update_time)) for row, metric in rows]
    )
