"""`zoo starters`: the models that every zoo begins with."""

import json
from pathlib import Path
from typing import Annotated

import platformdirs
import typer

from modelzoo.command.session import open_client, wants_json
from modelzoo.command.terminal import note

__all__ = ["register"]

WORK = Path(platformdirs.user_cache_dir("modelzoo")) / "starters"

app = typer.Typer(help="Publish the starter models: small real models from pinned packages.", no_args_is_help=True)


@app.command("list")
def list_starters() -> None:
    """List the starter models and where they come from."""
    from zoo_starters.publish import STARTERS  # not for every `zoo --help`

    for starter in STARTERS:
        typer.echo(f"{starter.name}  {starter.source}")


@app.command("publish")
def publish_starters(
    names: Annotated[list[str] | None, typer.Argument(help="Which ones; all where none is named.")] = None,
) -> None:
    """Fetch, convert and publish starter models. Those that are there already are left alone."""
    from zoo_starters.publish import STARTERS, publish

    chosen = [starter for starter in STARTERS if not names or starter.name in names]
    if not chosen:
        raise typer.BadParameter(f"none of these is a starter; there are {', '.join(s.name for s in STARTERS)}")
    references: list[str] = []
    with open_client() as client:
        for starter in chosen:
            references.append(publish(client, starter, WORK, note))
            note(f"ready: {references[-1]}")
    if wants_json():
        typer.echo(json.dumps({"references": references}))


@app.command("samples")
def copy_samples_here(
    folder: Annotated[Path, typer.Argument(help="Where to; made if it is not there.")] = Path("samples"),
) -> None:
    """Copy two photographs and a recorded voice into a folder, to try models on."""
    from zoo_starters.samples import SAMPLES, copy_samples

    copied = copy_samples(WORK / "packages", folder)
    if wants_json():
        typer.echo(json.dumps({"files": [str(path) for path in copied]}))
        return
    for sample, path in zip(SAMPLES, copied, strict=True):
        typer.echo(f"{path}  {sample.shows} ({sample.licence}, {sample.carrier})")


def register(root: typer.Typer) -> None:
    """Add `starters` to the command."""
    root.add_typer(app, name="starters")
