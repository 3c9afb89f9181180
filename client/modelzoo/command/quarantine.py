"""`zoo quarantine` and `zoo release`: taking versions out of use, and putting them back."""

from typing import TYPE_CHECKING, Annotated

import typer

from modelzoo.command.session import open_client
from modelzoo.command.terminal import answer, line, note

if TYPE_CHECKING:
    from modelzoo.records import Version

__all__ = ["register"]

NumberedArgument = Annotated[str, typer.Argument(metavar="REF", help="One version by its number: NAMESPACE/NAME@7.")]
QUARANTINE_EXAMPLES = """Examples:

\b
  zoo quarantine acme/chat@7 --reason "licence withdrawn, see ticket 4711"
  zoo release acme/chat@7"""


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command("quarantine", epilog=QUARANTINE_EXAMPLES)(quarantine)
    app.command("release")(release)


def quarantine(
    ref: NumberedArgument,
    reason: Annotated[str, typer.Option(help="Why; everybody who asks for the version sees it.")],
) -> None:
    """Take a version out of use: for admins of its namespace.

    Workers unload it within seconds and refuse it, aliases and `latest` pass over it, and its files go to the
    namespace's admins alone. Every version of the namespace with the same files goes with it.
    """
    with open_client() as client:
        moved = client.manage.quarantine(ref, reason)
    answer({"versions": moved}, lambda: _print(moved))
    note(f"`zoo release {ref}` puts it back")


def release(ref: NumberedArgument) -> None:
    """Put a quarantined version back into use, and those with the same files."""
    with open_client() as client:
        moved = client.manage.release(ref)
    answer({"versions": moved}, lambda: _print(moved))


def _print(versions: "list[Version]") -> None:
    for version in versions:
        line(f"{version.reference}  {version.state}  {version.state_reason}".rstrip())
