"""`zoo changes`: the log of everything that changed, for people and for audit."""

import re
from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer

from modelzoo.command.exported import continued
from modelzoo.command.interruptible import interruptible
from modelzoo.command.session import open_client, wants_json
from modelzoo.command.terminal import json_line, line, note, print_table, shortened, write_piece

if TYPE_CHECKING:
    from modelzoo.records import Change

__all__ = ["register"]

_AGO = re.compile(r"([0-9]{1,6})([smhdw])")
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}
EPILOG = """\b
zoo changes --model team/bert
zoo changes --follow --namespace team
zoo changes --since 7d --json | jq -r .actor | sort | uniq -c
zoo changes --out audit.jsonl
"""


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("changes", epilog=EPILOG)(changes)


def changes(
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on with changes as they come.")] = False,
    since: Annotated[
        str | None,
        typer.Option(metavar="WHEN", help="Everything since then: `90m`, `2h`, `7d`, or `2026-11-23` or a time."),
    ] = None,
    after: Annotated[
        int | None, typer.Option(min=0, metavar="SEQUENCE", help="Everything after this change; 0: from the first.")
    ] = None,
    namespace: Annotated[str, typer.Option(help="Only of this namespace.")] = "",
    model: Annotated[
        list[str] | None, typer.Option(metavar="MODEL", help="Only of this model; may be repeated.")
    ] = None,
    limit: Annotated[
        int, typer.Option(min=1, metavar="N", help="The last N, where neither --since nor --after is given.")
    ] = 20,
    out: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Append all to this file of JSON Lines, from where it ends; for audit."),
    ] = None,
) -> None:
    """Show what changed in the zoo, oldest first: when, who, what, and what it was before and after. You see the
    namespaces that you have a role in. With --json one object a line (JSON Lines)."""
    start = None if since is None else _time(since)
    if out is not None and (after is not None or start is not None):
        raise typer.BadParameter(
            "a file goes on from its last change: leave --since and --after out.", param_hint="--out"
        )
    wanted: dict[str, Any] = {"namespace": namespace, "models": model or ()}
    with open_client() as client:
        if out is not None:
            with continued(out) as file, client.changes(file.cursor, follow=follow, **wanted) as stream:
                count = file.append(interruptible(stream))
            note(f"{count} changes written to {out}")
            return
        if after is None and start is None:
            # The cursor first, so that what comes meanwhile is not lost; a change is shown by its sequence, once.
            last = list(islice(client.latest_changes(**wanted), limit))[::-1]
            _show(last, header=True)
            if not follow:
                return
            after = last[-1].sequence if last else 0
        with client.changes(after or 0, since=start, follow=follow, **wanted) as stream:
            if follow:
                for change in interruptible(stream):
                    _show([change], header=False)
            else:
                _show(stream, header=True)


def _time(text: str) -> datetime:
    if matched := _AGO.fullmatch(text):
        return datetime.now().astimezone() - timedelta(**{_UNITS[matched[2]]: int(matched[1])})
    try:
        return datetime.fromisoformat(text).astimezone()
    except ValueError:
        raise typer.BadParameter(f"{text!a} is neither like 2h or 7d nor a date.", param_hint="--since") from None


def _show(changes: "Iterable[Change]", *, header: bool) -> None:
    if wants_json():
        for change in changes:
            write_piece(json_line(change))
    elif header:
        print_table(("SEQUENCE", "TIME", "WHO", "WHAT", "RESOURCE", "CHANGE"), map(_row, changes))
    else:
        for change in changes:
            line("  ".join(" ".join(cell.split()) for cell in _row(change)))


def _row(change: "Change") -> tuple[str, ...]:
    time = "-" if change.time is None else f"{change.time.astimezone():%Y-%m-%d %H:%M:%S}"
    return (str(change.sequence), time, change.who, change.action, change.resource, _in_short(change))


def _in_short(change: "Change") -> str:
    """What differs: `field: before -> after`."""
    before, after = change.before or {}, change.after or {}
    names = [name for name in {**before, **after} if before.get(name) != after.get(name)]
    return ", ".join(shortened(_difference(name, before, after)) for name in names) or "-"


def _difference(name: str, before: Mapping[str, Any], after: Mapping[str, Any]) -> str:
    if name not in before:
        return f"{name}: {_value(after[name])}"
    return f"{name}: {_value(before[name])} -> {_value(after.get(name))}"


def _value(value: Any) -> str:
    """`7=90 8=10` for an alias's targets, the JSON of anything else that is no text."""
    match value:
        case str():
            return value or "''"
        case None:
            return "-"
        case [{"version": version, "weight": _}]:
            return str(version)
        case [{"version": _, "weight": _}, *_]:
            return " ".join(f"{target['version']}={target['weight']}" for target in cast(list[Any], value))
        case _:
            return json_line(value).strip()
