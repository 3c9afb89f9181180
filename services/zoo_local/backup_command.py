"""`zoo backup` and `zoo restore`: the zoo of this machine, kept in another folder and brought back from there."""

import asyncio
import sys
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from modelzoo.command.failure import FOUND
from modelzoo.command.session import wants_json
from modelzoo.command.terminal import answer, note
from zoo_local.command import PANEL, Data, data_layout

if TYPE_CHECKING:
    from zoo_backup.make import Made, Told
    from zoo_backup.restore import Restored
    from zoo_local.layout import Layout

__all__ = ["register"]

Folder = Annotated[Path, typer.Argument(metavar="DIR", help="The folder of the backup, not inside the cluster's own.")]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command(
        "backup",
        rich_help_panel=PANEL,
        epilog="Examples:\n\n\b\n  zoo backup /mnt/backup/zoo\n  zoo backup --verify /mnt/backup/zoo",
    )(backup)
    app.command(
        "restore",
        rich_help_panel=PANEL,
        epilog="Examples:\n\n\b\n  zoo restore /mnt/backup/zoo\n  zoo restore /mnt/backup/zoo --only catalog --force",
    )(restore)


def backup(
    folder: Folder,
    verify: Annotated[
        bool, typer.Option("--verify", help="Make none; read every byte of the one that is there. Needs no cluster.")
    ] = False,
    data: Data = None,
) -> None:
    """Back up the zoo of this machine, up or down: catalog, artifact index and bucket, as of one moment.

    Everybody may go on writing meanwhile. The folder holds one backup; again into the same folder, only what is new is
    copied, and until that has come to its end the folder holds the one before. Files are readable for you alone. The
    exit code is 7 where something that versions name was lost from the bucket already, or --verify finds damage.
    """
    from zoo_backup.answers import made_answer, show_made, show_verified, verified_answer
    from zoo_backup.folder import Folder
    from zoo_backup.verify import verify_backup

    path = folder.expanduser().resolve()
    if verify:
        with _told("verifying") as told:
            verified = verify_backup(Folder(path), told)
        answer(verified_answer(verified), lambda: show_verified(verified))
        if verified.faults:
            raise typer.Exit(FOUND)
        return
    with _told("backing up") as told:
        made = asyncio.run(_back_up(data_layout(data), path, told))
    answer(made_answer(made), lambda: show_made(made))
    if made.record.lacking:
        raise typer.Exit(FOUND)


def restore(
    folder: Folder,
    only: Annotated[
        list[str] | None,
        typer.Option(
            "--only",
            metavar="PART",
            help="Replace the rows of catalog or artifact alone, or of neither with bucket, which is completed always.",
        ),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace rows that are there, and say which.")] = False,
    data: Data = None,
) -> None:
    """Bring a backup back into the zoo of this machine, which must be down. Broken off, the same command goes on.

    The whole backup is verified before anything is written. Nothing is removed from the bucket. It ends with a check of
    every byte; sweeping stays off until such a check agreed and the catalog, once it is up, has pinned what it names.
    The exit code is 7 where something does not agree.
    """
    from zoo_backup.answers import restored_answer, show_restored
    from zoo_backup.source import PARTS

    if unknown := set(only or ()) - set(PARTS):
        raise typer.BadParameter(f"no part {', '.join(sorted(unknown))}; there are {', '.join(PARTS)}")
    path = folder.expanduser().resolve()
    with _told("restoring") as told:
        restored = asyncio.run(_restore(data_layout(data), path, told, only or [], list(PARTS) if force else []))
    answer(restored_answer(restored), lambda: show_restored(restored))
    if restored.findings:
        raise typer.Exit(FOUND)


async def _back_up(layout: "Layout", path: Path, told: "Told") -> "Made":
    from zoo_backup.place import back_up
    from zoo_local.object_store import place_of

    async with place_of(layout) as place:
        return await back_up(place, path, told)


async def _restore(layout: "Layout", path: Path, told: "Told", only: list[str], force: list[str]) -> "Restored":
    from zoo_backup.folder import Folder
    from zoo_backup.place import restore
    from zoo_local.object_store import place_at_rest

    Folder(path).record()  # before anything is started
    async with place_at_rest(layout) as place:
        return await restore(place, path, told, only=only, force=force)


@contextmanager
def _told(doing: str) -> "Generator[Told]":
    """A function that shows how far it is: a spinner for people, for logs a line for what is replaced."""
    if wants_json() or not sys.stderr.isatty():
        yield lambda words: note(words) if words.startswith("replacing") else None
        return
    from rich.console import Console

    with Console(stderr=True).status(doing) as status:

        def tell(words: str) -> None:
            if words.startswith("replacing"):
                status.console.print(words, markup=False)
            status.update(f"{doing}: {words}")

        yield tell
