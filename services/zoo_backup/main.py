"""The command `zoo-backup`, for pods beside the services; on one machine it is `zoo backup` and `zoo restore`.

zoo-backup make DIR | verify DIR | restore DIR [--only PART ...] [--force]

Its settings are the services': ZOO_CATALOG_DATABASE_URL, ZOO_ARTIFACT_DATABASE_URL, ZOO_BLOBS_URL, AWS_ACCESS_KEY_ID,
AWS_SECRET_ACCESS_KEY. Its exit codes are those of `zoo`.
"""

import argparse
import asyncio
import os
import sys
from collections.abc import Callable
from pathlib import Path

from modelzoo.command.failure import FOUND, report
from modelzoo.command.session import begin
from modelzoo.command.terminal import note
from modelzoo.errors import FailedPrecondition, ZooError
from zoo_backup.answers import show_made, show_restored, show_verified
from zoo_backup.folder import Folder
from zoo_backup.place import Place, back_up, restore
from zoo_backup.source import PARTS, SOURCES
from zoo_backup.verify import verify_backup
from zoo_store.blobs import S3Credentials
from zoo_store.sqlite import DatabaseInUse

__all__ = ["main", "parsed"]

NAMES = [source.name for source in SOURCES]


def main() -> int:
    begin()
    given = parsed(sys.argv[1:])
    path: Path = given.folder
    try:
        return {"make": _make, "verify": _verify, "restore": _restore}[given.command](given, path)
    except DatabaseInUse as error:
        return report(FailedPrecondition("", f"{error}: services do not run during a restore"))
    except ZooError as error:
        return report(error)


def _make(given: argparse.Namespace, path: Path) -> int:
    made = asyncio.run(back_up(_place(), path, told()))
    show_made(made)
    return FOUND if made.record.lacking else 0


def _verify(given: argparse.Namespace, path: Path) -> int:
    verified = verify_backup(Folder(path), told())
    show_verified(verified)
    return FOUND if verified.faults else 0


def _restore(given: argparse.Namespace, path: Path) -> int:
    force = NAMES if given.force else []
    restored = asyncio.run(restore(_place(), path, told(), only=given.only, force=force))
    show_restored(restored)
    return FOUND if restored.findings else 0


def told() -> Callable[[str], None]:
    """Writes each new word on how far it is, of which there is one for each step and some hundred objects."""
    said = ""

    def tell(words: str) -> None:
        nonlocal said
        step = words.partition(":")[0]
        if step != said:
            note(words)
        said = step

    return tell


def _place() -> Place:
    environment = os.environ
    try:
        return Place(
            {name: environment[f"ZOO_{name.upper()}_DATABASE_URL"] for name in NAMES},
            environment["ZOO_BLOBS_URL"],
            S3Credentials(environment["AWS_ACCESS_KEY_ID"], environment["AWS_SECRET_ACCESS_KEY"]),
        )
    except KeyError as error:
        raise FailedPrecondition("", f"{error.args[0]} is not set: give the settings of the services") from None


def parsed(arguments: list[str]) -> argparse.Namespace:
    """What the arguments say; ends the process where they say nothing."""
    parser = argparse.ArgumentParser(prog="zoo-backup", description="Backs up and restores catalog, index and bucket.")
    commands = parser.add_subparsers(dest="command", required=True)
    for name, words in {
        "make": "back up while the services run; again into the same folder, only what is new is copied",
        "verify": "read every byte of a backup and compare; needs no settings",
        "restore": "bring a backup back; the services must not run",
    }.items():
        command = commands.add_parser(name, help=words, description=words)
        command.add_argument("folder", type=Path, metavar="DIR")
        if name == "restore":
            command.add_argument("--only", action="append", choices=PARTS, default=[], help="replace its rows alone")
            command.add_argument("--force", action="store_true", help="replace rows that are there")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
