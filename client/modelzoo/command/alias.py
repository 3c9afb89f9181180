"""`zoo alias`: movable names of versions."""

import re
from typing import TYPE_CHECKING, Annotated

import typer

from modelzoo.command.arguments import ModelArgument
from modelzoo.command.session import open_client
from modelzoo.command.terminal import answer, line, print_table, short_time

if TYPE_CHECKING:
    from modelzoo.records import Alias, AliasTarget

__all__ = ["register"]

AliasArgument = Annotated[str, typer.Argument(metavar="ALIAS", help="Its name, such as `prod`.")]
EtagOption = Annotated[
    str, typer.Option(help="Only if this is still the alias's etag (`absent`: if there is none yet).")
]

_TARGET = re.compile(r"([0-9]{1,10})(?:=([0-9]{1,7}))?")

app = typer.Typer(help="Set, read and remove aliases: movable names of versions.", no_args_is_help=True)


def register(root: typer.Typer) -> None:
    """Add the group."""
    root.add_typer(app, name="alias")


@app.command("set")
def set_alias(
    model: ModelArgument,
    alias: AliasArgument,
    targets: Annotated[list[str], typer.Argument(metavar="VERSION...", help="`7`, or shares: `7=90 8=10`.")],
    etag: EtagOption = "",
) -> None:
    """Move an alias to a version, or to several by weight; make it if it is new."""
    parsed = [_target(text) for text in targets]
    with open_client() as client:
        moved = client.set_alias(model, alias, parsed, etag=etag)
    answer(moved, lambda: _print([moved]))


@app.command("get")
def get(model: ModelArgument, alias: AliasArgument) -> None:
    """Show an alias."""
    with open_client() as client:
        found = client.alias(model, alias)
    answer(found, lambda: _print([found]))


@app.command("list")
def list_aliases(model: ModelArgument) -> None:
    """List a model's aliases."""
    with open_client() as client:
        found = list(client.aliases(model))
    answer({"aliases": found}, lambda: _print(found))


@app.command("delete")
def delete(model: ModelArgument, alias: AliasArgument, etag: EtagOption = "") -> None:
    """Remove an alias. The versions stay."""
    with open_client() as client:
        client.delete_alias(model, alias, etag=etag)
    answer({"deleted": alias}, lambda: line(f"deleted {alias}"))


def _target(text: str) -> "AliasTarget":
    from modelzoo.records import AliasTarget

    matched = _TARGET.fullmatch(text)
    if matched is None:
        raise typer.BadParameter(f"{text!a} is neither a version nor VERSION=WEIGHT.", param_hint="VERSION")
    return AliasTarget(int(matched[1]), int(matched[2] or 1))


def _print(aliases: "list[Alias]") -> None:
    print_table(
        ("ALIAS", "VERSIONS", "MOVED", "ETAG"),
        [(each.alias, _shares(each), short_time(each.update_time), each.etag) for each in aliases],
    )


def _shares(alias: "Alias") -> str:
    if len(alias.targets) == 1:
        return str(alias.targets[0].version)
    return " ".join(f"{target.version}={target.weight}" for target in alias.targets)
