"""Arguments that several commands take."""

from typing import Annotated

import typer

__all__ = ["ModelArgument", "ReferenceArgument"]

ReferenceArgument = Annotated[
    str,
    typer.Argument(metavar="REF", help="NAME or NAMESPACE/NAME, then nothing, @ALIAS, @VERSION or @sha256:DIGEST."),
]
ModelArgument = Annotated[
    str, typer.Argument(metavar="MODEL", help="NAME or NAMESPACE/NAME; a NAME alone means zoo/NAME.")
]
