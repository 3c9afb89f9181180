"""What one run of the command was told about where to go and how to answer."""

from collections.abc import Generator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import typer
from typer.core import TyperOption

if TYPE_CHECKING:
    from modelzoo.client import Client

__all__ = ["begin", "open_client", "shared_options", "wants_json"]

PANEL = "Everywhere"


@dataclass(slots=True)
class _Session:
    url: str | None = None
    key: str | None = None
    json: bool = False


_session: ContextVar[_Session] = ContextVar("zoo_session")


def begin() -> None:
    """Forget what an earlier run in this process was told."""
    _session.set(_Session())


def wants_json() -> bool:
    """Whether the answer is to be one JSON object on stdout, with nothing beside it."""
    return _session.get().json


@contextmanager
def open_client() -> "Generator[Client]":
    """The client that the options, the environment or the configuration file describe. A name that is not there is
    told with those that come close to it."""
    # Here, so that `zoo --help` does not wait for grpc.
    from modelzoo.client import Client
    from modelzoo.command.nearest import naming_the_nearest

    session = _session.get()
    with Client(session.url, session.key) as client, naming_the_nearest(client):
        yield client


def shared_options() -> list[TyperOption]:
    """Options that every command takes: before the command's name or after it, as people type them."""
    described = typer.Typer(add_completion=False)
    described.command()(_shared)
    return [param for param in typer.main.get_command(described).params if isinstance(param, TyperOption)]


# An option that was not given also comes here, and must not undo what stood before the command's name.


def _set_url(value: str | None) -> None:
    if value:
        _session.get().url = value


def _set_key(value: str | None) -> None:
    if value:
        _session.get().key = value


def _set_json(value: bool) -> None:
    if value:
        _session.get().json = True


def _shared(
    url: Annotated[
        str | None,
        typer.Option(
            callback=_set_url,
            expose_value=False,
            metavar="URL",
            rich_help_panel=PANEL,
            help="Address of the zoo; $ZOO_URL or ~/.config/zoo/config.toml otherwise.",
        ),
    ] = None,
    key: Annotated[
        str | None,
        typer.Option(
            callback=_set_key,
            expose_value=False,
            metavar="KEY",
            rich_help_panel=PANEL,
            help="Key; better left to $ZOO_KEY, which others on this machine cannot see.",
        ),
    ] = None,
    json: Annotated[
        bool,
        typer.Option(
            "--json", callback=_set_json, expose_value=False, rich_help_panel=PANEL, help="Answer one JSON object."
        ),
    ] = False,
) -> None:
    """Only its parameters matter."""
