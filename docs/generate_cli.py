"""Write docs/reference/cli.md from the command itself. `--check`: fail if it is not current."""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import typer
from typer.core import TyperGroup

from modelzoo.command.failure import EXIT_CODES
from modelzoo.command.main import client_app

PAGE = Path(__file__).resolve().parent / "reference" / "cli.md"

INTRODUCTION = """\
# The command `zoo`

Generated from the command's own help. Address and key come from `--url` and `--key`, else from `ZOO_URL` and
`ZOO_KEY`, else from `~/.config/zoo/config.toml` (`url = "..."`, `key = "..."`).

**Answers** go to stdout, everything else to stderr. With `--json`, before the command's name or after it, the answer is
exactly one JSON object. `push` answers `reference`, `digest`, `bytes_total`, `bytes_sent`, `seconds`, `skipped` and
`is_new`; `pull` answers `reference`, `digest`, `path`, `bytes_total`, `bytes_received` and `seconds`; `import` answers
what `push` does and `name`, `source`, `architecture`, `parameters`, `dtypes`, `has_processor`, `files` and `left_out`,
with `--dry-run` these alone and `bytes_total`; `sweep`, `fsck` and `usage` answer what [the upkeep's
messages](api.md) have; `finetune` answers `job` and `version`, with `--detach` the job, with `--dry-run` the plan.
`changes`, `jobs watch` and `jobs logs` answer an object a line. Progress bars appear on a terminal only. Control
characters in models' answers, names and cards reach pipes and files, never a terminal.

**Failures** are a sentence, sometimes a hint, and a [reason](errors.md) on stderr; with `--json` the object
`{"error": {"code", "reason", "message", "metadata"}}`, there too.

| exit code | meaning |
|---|---|
{codes}

**Completion** for bash, zsh and fish: `zoo --install-completion`.

Other packages add commands: those of the local cluster and `zoo starters` are in [local.md](local.md).
"""


def page() -> str:
    """The whole page."""
    codes = "\n".join(f"| {code} | {meaning} |" for code, meaning in EXIT_CODES.items())
    root: Any = typer.main.get_command(client_app())
    lines = [INTRODUCTION.replace("{codes}", codes)]
    lines += ["## Everywhere", "", *_parameters(root), ""]
    for words, command in _commands(root, ("zoo",)):
        arguments = " ".join(_placeholder(param) for param in command.params if param.param_type_name == "argument")
        lines += [f"## {' '.join(words)}", "", f"`{' '.join(words)} {arguments}`".replace(" `", "`"), ""]
        lines += [" ".join(command.help.split()), "", *_parameters(command, root), "", *_examples(command)]
    return "\n".join(lines).replace("\n\n\n", "\n\n").rstrip() + "\n"


def _commands(group: Any, words: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], Any]]:
    for name, command in group.commands.items():
        if isinstance(command, TyperGroup):
            yield from _commands(command, (*words, name))
        else:
            yield (*words, name), command


def _parameters(command: Any, known: Any = None) -> list[str]:
    """A table of them, those of `known` and --help left out."""
    left_out = {"--help", *(word for param in getattr(known, "params", []) for word in param.opts)}
    rows = [
        f"| `{_placeholder(param)}` | {param.help or ''} |"
        for param in command.params
        # A command's own option may have the name of one that every other command takes.
        if param.help and (param.expose_value or left_out.isdisjoint(param.opts))
    ]
    return ["| | |", "|---|---|", *rows] if rows else []


def _examples(command: Any) -> list[str]:
    """What its help ends with, as shell lines."""
    _, _, shown = (command.epilog or "").partition("\b\n")
    return ["```sh", *(line.strip() for line in shown.strip().splitlines()), "```", ""] if shown else []


def _placeholder(param: Any) -> str:
    if param.param_type_name == "argument":
        return param.metavar or param.name.upper()
    names = "/".join([", ".join(param.opts), *param.secondary_opts])
    return names if param.is_flag else f"{names} {param.metavar or param.name.upper()}"


def main() -> int:
    if "--check" in sys.argv:
        current = PAGE.exists() and PAGE.read_text() == page()
        if not current:
            print(f"stale: {PAGE.name}; run .venv/bin/python docs/generate_cli.py", file=sys.stderr)  # noqa: T201
        return int(not current)
    PAGE.write_text(page())
    return 0


if __name__ == "__main__":
    sys.exit(main())
