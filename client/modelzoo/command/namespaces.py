"""`zoo namespaces`: who owns models."""

from typing import Annotated

import typer

from modelzoo.command.session import open_client
from modelzoo.command.terminal import answer, line, print_table, short_time

__all__ = ["register"]

app = typer.Typer(help="Make and list namespaces: who owns models.", no_args_is_help=True)


def register(root: typer.Typer) -> None:
    """Add the group."""
    root.add_typer(app, name="namespaces")


@app.command("create")
def create(
    name: Annotated[str, typer.Argument(metavar="NAME")],
    description: Annotated[str, typer.Option(help="What it is for.")] = "",
) -> None:
    """Make a namespace; you become its admin."""
    with open_client() as client:
        made = client.create_namespace(name, description)
    answer(made, lambda: line(made.name))


@app.command("list")
def list_namespaces() -> None:
    """List the namespaces in which you have a role."""
    with open_client() as client:
        found = list(client.namespaces())
    rows = [(each.name, short_time(each.create_time), each.description) for each in found]
    answer({"namespaces": found}, lambda: print_table(("NAME", "MADE", "DESCRIPTION"), rows))
