"""Puts the command `zoo` together."""

import os
import sys
from importlib.metadata import entry_points, version
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from modelzoo.command import (
    access,
    alias,
    cache,
    changes,
    diff,
    files,
    finetune,
    grants,
    imports,
    jobs,
    keys,
    lineage,
    merge,
    metrics,
    model,
    models,
    namespaces,
    quarantine,
    recipes,
    reproduce,
    run,
    signers,
    signing,
    upkeep,
    versions,
    workers,
)
from modelzoo.command.failure import EXIT_CODES, report
from modelzoo.command.session import begin, shared_options

__all__ = ["client_app", "main", "make_app"]

PLUGINS = "modelzoo.commands"
EPILOG = "Exit codes: " + "; ".join(f"{code} {meaning}" for code, meaning in EXIT_CODES.items()) + "."


def main() -> None:
    """The console script."""
    make_app()()


def make_app() -> typer.Typer:
    """The whole command: the client's, and what other packages add by an entry point that takes the app."""
    app = client_app()
    for plugin in sorted(entry_points(group=PLUGINS), key=lambda plugin: plugin.name):
        try:
            register = plugin.load()
        except ModuleNotFoundError:
            continue  # an extra that is not installed here
        register(app)
    return app


def client_app() -> typer.Typer:
    """The client's commands alone."""
    app = typer.Typer(
        name="zoo",
        cls=_Zoo,
        help="Publish, find, fetch and run models of a self-hosted zoo.",
        epilog=EPILOG,
        no_args_is_help=True,
        rich_markup_mode=None,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    app.callback()(_root)
    for module in (
        models,
        files,
        diff,
        imports,
        alias,
        model,
        versions,
        quarantine,
        signing,
        signers,
        metrics,
        lineage,
        changes,
        run,
        finetune,
        merge,
        reproduce,
        jobs,
        recipes,
        keys,
        grants,
        access,
        namespaces,
        workers,
        cache,
        upkeep,
    ):
        module.register(app)
    return app


# What other tools call it. Suggestions by likeness would name something else.
_CALLED_HERE = {
    "delete": "`zoo model delete` deletes a model, `zoo versions delete` a version",
    "download": "`zoo pull` does that",
    "list": "`zoo models` lists models, and most groups have a `list`",
    "login": "set ZOO_URL and ZOO_KEY, `zoo whoami` tells whom the key stands for",
    "ls": "`zoo models` lists models, and most groups have a `list`",
    "publish": "`zoo push` does that",
    "remove": "`zoo model delete` deletes a model, `zoo versions delete` a version",
    "rm": "`zoo model delete` deletes a model, `zoo versions delete` a version",
    "search": "`zoo models WORD...` finds models",
    "train": "`zoo finetune` trains a model, `zoo trainer` starts a trainer",
    "upload": "`zoo push` does that",
}


class _Zoo(TyperGroup):
    """Gives every command the shared options, and every failure its exit code."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        _share_options(self)

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        begin()
        return super().parse_args(ctx, args)

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        if args and args[0] in _CALLED_HERE and args[0] not in self.commands:
            ctx.fail(f"No such command '{args[0]}': {_CALLED_HERE[args[0]]}.")
        return super().resolve_command(ctx, args)

    def invoke(self, ctx: Any) -> Any:
        from modelzoo.errors import ZooError

        try:
            result = super().invoke(ctx)
            sys.stdout.flush()
        except ZooError as error:
            raise typer.Exit(report(error)) from error
        except typer.BadParameter as error:
            error.message = _plain(error.message)
            raise
        except BrokenPipeError as error:
            # Whoever read the answer has enough (`| head`). What is still buffered must not fail at exit.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            raise typer.Exit(0) from error
        return result


def _plain(message: str) -> str:
    """What typer says of a value in its validator's words ("Input should be a valid integer, unable to parse string as
    an integer"), as a person would."""
    said, _, _ = message.partition(", unable to parse")
    return said.replace("Input should be", "it should be").replace("a valid integer", "a whole number")


def _share_options(group: TyperGroup) -> None:
    for command in group.commands.values():
        if isinstance(command, TyperGroup):
            _share_options(command)
        else:
            taken = {word for param in command.params for word in param.opts}
            command.params.extend(option for option in shared_options() if taken.isdisjoint(option.opts))
    if isinstance(group, _Zoo):
        group.params.extend(shared_options())


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"zoo {version('modelzoo')}")
        raise typer.Exit


def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    pass
