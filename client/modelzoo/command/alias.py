"""`zoo alias`: movable names of versions."""

import re
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated

import typer

from modelzoo.command.arguments import ModelArgument
from modelzoo.command.session import open_client
from modelzoo.command.terminal import answer, line, print_table, short_time

if TYPE_CHECKING:
    from modelzoo.records import Alias, AliasTarget, Serving

__all__ = ["register", "serving_text", "shares_text"]

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
    min_workers: Annotated[int | None, typer.Option("--min", help="Workers that hold it at least.")] = None,
    max_workers: Annotated[int | None, typer.Option("--max", help="Workers that hold it at most; 0: no limit.")] = None,
    resource_class: Annotated[
        str | None, typer.Option(metavar="CLASS", help="Only workers of this class; '': of any.")
    ] = None,
    pinned: Annotated[
        bool | None, typer.Option("--pinned/--not-pinned", help="Whether it stays in memory whoever needs the room.")
    ] = None,
) -> None:
    """Move an alias to a version, or to several by weight; make it if it is new. How it is served stays as it was,
    but for what is given."""
    from modelzoo.errors import NotFound
    from modelzoo.records import Serving

    parsed = [_target(text) for text in targets]
    given = {"min_workers": min_workers, "max_workers": max_workers, "resource_class": resource_class, "pinned": pinned}
    given = {name: value for name, value in given.items() if value is not None}
    with open_client() as client:
        serving, known = None, etag
        if given:
            try:
                before = client.alias(model, alias)
                serving, known = before.serving or Serving(), etag or before.etag
            except NotFound as error:
                if error.reason != "ALIAS_NOT_FOUND":
                    raise
                serving, known = Serving(), etag or "absent"
            serving = replace(serving, **given)  # pyright: ignore[reportArgumentType]
        moved = client.set_alias(model, alias, parsed, etag=known, serving=serving)
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
        ("ALIAS", "VERSIONS", "SERVING", "MOVED", "ETAG"),
        [
            (each.alias, shares_text(each), serving_text(each.serving), short_time(each.update_time), each.etag)
            for each in aliases
        ],
    )


def serving_text(serving: "Serving | None") -> str:
    """`1-4 workers of gpu, pinned`, or `-` where nothing was said."""
    if serving is None:
        return "-"
    most = serving.max_workers or ""
    where = f" of {serving.resource_class}" if serving.resource_class else ""
    return f"{serving.min_workers}-{most} workers{where}{', pinned' if serving.pinned else ''}"


def shares_text(alias: "Alias") -> str:
    """`7`, or `7=90 8=10` where several share it."""
    if len(alias.targets) == 1:
        return str(alias.targets[0].version)
    return " ".join(f"{target.version}={target.weight}" for target in alias.targets)
