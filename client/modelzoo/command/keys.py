"""`zoo keys`: credentials."""

from datetime import datetime
from typing import TYPE_CHECKING, Annotated

import typer

from modelzoo.command.session import open_client
from modelzoo.command.terminal import answer, line, note, print_table, short_time

if TYPE_CHECKING:
    from modelzoo.records import Key, NewKey

__all__ = ["register"]

app = typer.Typer(help="Make, list and revoke keys (for administrators of the cluster).", no_args_is_help=True)


def register(root: typer.Typer) -> None:
    """Add the group."""
    root.add_typer(app, name="keys")


@app.command("create")
def create(
    subject: Annotated[str, typer.Argument(metavar="SUBJECT", help="Whom it stands for, such as `team:search`.")],
    description: Annotated[str, typer.Option(help="What it is for.")] = "",
    expires: Annotated[
        datetime | None, typer.Option(help="When it stops working, in local time; never otherwise.")
    ] = None,
) -> None:
    """Make a key. Its secret is shown now and never again; give it roles with `zoo grants add`."""
    with open_client() as client:
        made = client.access.create_key(subject, description=description, expire_time=expires)
    answer(made, lambda: _print_new(made))


@app.command("list")
def list_keys() -> None:
    """List keys, newest first, revoked ones too."""
    with open_client() as client:
        found = list(client.access.keys())
    answer({"keys": found}, lambda: _print(found))


@app.command("revoke")
def revoke(name: Annotated[str, typer.Argument(metavar="KEY", help="Its name: `key_...`.")]) -> None:
    """Make a key stop working for good."""
    with open_client() as client:
        revoked = client.access.revoke_key(name)
    answer(revoked, lambda: line(f"revoked {revoked.name}"))


def _print_new(made: "NewKey") -> None:
    note(f"{made.key.name} for {made.key.subject}; its secret is shown this once:")
    line(made.secret)


def _print(keys: "list[Key]") -> None:
    print_table(
        ("NAME", "SUBJECT", "MADE", "EXPIRES", "REVOKED", "DESCRIPTION"),
        [
            (
                key.name,
                key.subject,
                short_time(key.create_time),
                short_time(key.expire_time),
                short_time(key.revoke_time),
                key.description,
            )
            for key in keys
        ],
    )
