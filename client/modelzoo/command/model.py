"""`zoo model`: make, change and delete models."""

from typing import TYPE_CHECKING, Annotated

import typer

from modelzoo.command.arguments import ModelArgument
from modelzoo.command.confirm import YesOption, confirm
from modelzoo.command.session import open_client
from modelzoo.command.terminal import answer, line, short_time

if TYPE_CHECKING:
    from modelzoo.records import Model

__all__ = ["register"]

EtagOption = Annotated[str, typer.Option(help="Only if this is still its etag; `zoo show --json` tells it.")]

app = typer.Typer(help="Make, change, delete and undelete models; `zoo models` lists them.", no_args_is_help=True)


def register(root: typer.Typer) -> None:
    """Add the group."""
    root.add_typer(app, name="model")


@app.command("create")
def create(
    model: ModelArgument,
    description: Annotated[str, typer.Option(help="One sentence for people.")] = "",
    owner: Annotated[str, typer.Option(metavar="SUBJECT", help="Who answers for it; you otherwise.")] = "",
    gated: Annotated[bool, typer.Option("--gated", help="Only whom a publisher approves may use it.")] = False,
    kind: Annotated[str, typer.Option(help="`model` or `dataset`; never changes.")] = "model",
) -> None:
    """Make a model without versions. `zoo push` makes plain ones by itself; make those that are gated, or datasets,
    before."""
    with open_client() as client:
        made = client.manage.create_model(model, description=description, owner=owner, gated=gated, kind=kind)
    answer(made, lambda: line(made.name))


@app.command("edit")
def edit(
    model: ModelArgument,
    description: Annotated[str | None, typer.Option(help="One sentence for people.")] = None,
    owner: Annotated[str | None, typer.Option(metavar="SUBJECT", help="Who answers for it.")] = None,
    gated: Annotated[
        bool | None, typer.Option("--gated/--open", help="Whether only whom a publisher approves may use it.")
    ] = None,
    etag: EtagOption = "",
) -> None:
    """Change a model's description, owner or gate. Task, licence, tags and card are read from its newest version."""
    with open_client() as client:
        changed = client.manage.update_model(model, description=description, owner=owner, gated=gated, etag=etag)
    answer(changed, lambda: line(f"changed {changed.name}"))


@app.command("delete")
def delete(model: ModelArgument, yes: YesOption = False, etag: EtagOption = "") -> None:
    """Delete a model with all its versions and aliases. It can be undeleted for as many days as its namespace says;
    its name is never given again."""
    confirm(f"Delete the model {model} with all its versions and aliases?", yes=yes)
    with open_client() as client:
        gone = client.manage.delete_model(model, etag=etag)
    answer(gone, lambda: _print_gone(gone))


@app.command("undelete")
def undelete(model: ModelArgument) -> None:
    """Bring a deleted model back as it was. `zoo models --deleted` lists them."""
    with open_client() as client:
        back = client.manage.undelete_model(model)
    answer(back, lambda: line(f"undeleted {back.name}"))


def _print_gone(model: "Model") -> None:
    line(f"deleted {model.name}; until {short_time(model.purge_time)}: zoo model undelete {model.name}")
