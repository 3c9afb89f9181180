"""A question before something goes away: asked of people, not of programs."""

import sys
from typing import Annotated

import typer

__all__ = ["YesOption", "confirm"]

YesOption = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask; nor is anybody asked who is no terminal.")]


def confirm(question: str, *, yes: bool) -> None:
    """Return if the question is answered with yes, or need not be asked; end the command otherwise."""
    if not yes and sys.stdin.isatty():
        typer.confirm(question, abort=True, err=True)
