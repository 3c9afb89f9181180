"""The reference of the command is what the command says."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import typer

from modelzoo.command.main import make_app

ROOT = Path(__file__).resolve().parents[3]


def test_reference_is_current():
    done = subprocess.run(
        [sys.executable, "docs/generate_cli.py", "--check"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_every_command_stands_in_the_reference_those_of_other_packages_too():
    pages = "".join((ROOT / "docs" / "reference" / name).read_text() for name in ("cli.md", "local.md"))
    commands = set(names(typer.main.get_command(make_app())))
    assert len(commands) > 70
    assert {name for name in commands if f"`zoo {name}" not in pages} == set()


def names(group: Any, words: str = "") -> Iterator[str]:
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from names(command, f"{words}{name} ")
        else:
            yield f"{words}{name}"
