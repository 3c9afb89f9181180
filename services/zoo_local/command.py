"""`zoo up`, `down`, `status`, `env` and `logs`: a whole zoo on this machine."""

import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from modelzoo.command.failure import UNAVAILABLE
from modelzoo.command.session import wants_json
from modelzoo.command.terminal import answer, line, note, print_table, size_text, write_piece

if TYPE_CHECKING:
    from collections.abc import Generator

    from zoo_local.detached import Told
    from zoo_local.layout import Layout
    from zoo_local.status import ClusterReport

__all__ = ["PANEL", "Data", "data_layout", "register"]

PANEL = "A zoo on this machine"

Data = Annotated[
    Path | None,
    typer.Option(
        "--data",
        metavar="DIR",
        help="Folder that the cluster keeps everything in; ~/.local/share/modelzoo/default otherwise. "
        "Clusters with different folders run side by side.",
    ),
]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command("up", rich_help_panel=PANEL)(up)
    app.command("down", rich_help_panel=PANEL)(down)
    app.command("status", rich_help_panel=PANEL)(status)
    app.command("env", rich_help_panel=PANEL)(env)
    app.command("logs", rich_help_panel=PANEL)(logs)


def up(
    data: Data = None,
    detach: Annotated[
        bool, typer.Option("--detach", "-d", help="Return when everything serves; `zoo down` stops it.")
    ] = False,
    port: Annotated[
        int | None,
        typer.Option(
            min=1024, max=65535, help="Port for gRPC and REST; the one used before or any free one otherwise."
        ),
    ] = None,
    workers: Annotated[int, typer.Option(min=1, max=64, help="Workers, which share memory and cores.")] = 1,
) -> None:
    """Start a whole zoo on this machine: S3, Redis, Envoy and every service, each its own process.

    Without --detach it stays, shows what every process says, and Ctrl-C stops it in order (a second one at once).
    What dies is started again. Started again on the same folder, it has everything that it had.

    Then `set -a; eval "$(zoo env)"; set +a` makes this cluster the one that `zoo` and its clients talk to.
    """
    from zoo_local.cluster import Options, run_cluster
    from zoo_local.detached import start
    from zoo_local.errors import AlreadyUp
    from zoo_local.output import Console

    layout = data_layout(data)
    options = Options(layout.root, port or 0, workers)
    if detach:
        with _waiting("starting") as told:
            started = start(options, told)
        adverb = "already " if started.already else ""
        answer(
            {"url": started.url, "data": layout.root, "already": started.already},
            lambda: line(f"The zoo is {adverb}up at {started.url}, its data in {layout.root}"),
        )
        return
    try:
        run_cluster(options, Console(), lambda url: note(f"The zoo is up at {url}; Ctrl-C stops it."))
    except AlreadyUp as already:
        note(already.message)


def down(data: Data = None) -> None:
    """Stop the zoo of this machine in order: calls in flight may finish, no process is left.

    Its data stays. Stopping what is not up is no error.
    """
    from zoo_local.detached import stop

    layout = data_layout(data)
    with _waiting("stopping") as told:
        stopped = stop(layout, told)
    words = "The zoo is down." if stopped else f"No zoo was up on {layout.root}."
    answer({"stopped": stopped, "data": layout.root}, lambda: line(words))


def status(data: Data = None) -> None:
    """Show the processes of the zoo of this machine. The exit code is 0 only if all of them serve, and 5 if not."""
    from zoo_local.status import read_report

    report = read_report(data_layout(data))
    answer(report, lambda: _print_report(report))
    if not report.serving:
        raise typer.Exit(UNAVAILABLE)


def env(data: Data = None) -> None:
    """Print ZOO_URL= and ZOO_KEY= of the zoo of this machine; the key is its administrator's.

    `set -a; eval "$(zoo env)"; set +a` puts both into the environment of your shell.
    """
    from zoo_local.status import read_access

    access = read_access(data_layout(data))
    answer(access, lambda: line(f"ZOO_URL={access.url}\nZOO_KEY={access.key}"))


def logs(
    name: Annotated[str, typer.Argument(help="Which process, as `zoo status` names it; all where none is named.")] = "",
    data: Data = None,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on with what is said from now on.")] = False,
    lines: Annotated[int, typer.Option("--lines", "-n", min=0, help="Begin with so many of the latest lines.")] = 50,
) -> None:
    """Show what the processes of the zoo of this machine say, and said last time."""
    from zoo_local.logs import follow_logs, latest_lines, log_files

    layout = data_layout(data)
    files = log_files(layout, name)
    if not files:
        known = ", ".join(sorted(log_files(layout, ""))) or f"none yet in {layout.logs}"
        raise typer.BadParameter(f"no log of that name; there are: {known}", param_hint="NAME")
    for said in latest_lines(files, lines):
        write_piece(said.shown)
    if follow:
        for said in follow_logs(files):
            write_piece(said.shown)


def data_layout(data: Path | None) -> "Layout":
    from zoo_local.layout import Layout, default_root

    return Layout((data or default_root()).expanduser().resolve())


@contextmanager
def _waiting(doing: str) -> "Generator[Told]":
    """A function that shows which processes are awaited: a spinner for people, a line for each change for logs."""
    if not sys.stderr.isatty() or wants_json():
        last: list[str] = []

        def tell(names: list[str]) -> None:
            nonlocal last
            if names and names != last:
                note(f"{doing}: {', '.join(names)}")
            last = names

        yield tell
        return
    from rich.console import Console

    with Console(stderr=True).status(f"{doing} ...") as spinner:
        yield lambda names: spinner.update(f"{doing}: {', '.join(names)}" if names else f"{doing} ...")


def _print_report(report: "ClusterReport") -> None:
    print_table(
        ("PROCESS", "PID", "STATE", "UPTIME", "RESTARTS", "PORT", "MEMORY"),
        [
            (
                process.name,
                str(process.pid or "-"),
                process.state,
                f"{process.uptime_s:.0f} s" if process.pid else "-",
                str(process.restarts),
                str(process.port),
                size_text(process.memory_bytes) if process.pid else "-",
            )
            for process in report.processes
        ],
    )
    line(f"\n{report.phase} at {report.url}, data in {report.data}, supervised by process {report.pid}")
