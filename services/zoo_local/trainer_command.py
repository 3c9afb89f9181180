"""`zoo trainer`: one more trainer for the zoo of this machine, with recipes of yours."""

import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from modelzoo.command.terminal import note
from zoo_local.command import PANEL, Data, data_layout

__all__ = ["register"]

EXAMPLES = """\
Examples:

\b
  zoo trainer --path ./site --resource-class mine
  zoo trainer --threads 1
"""


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("trainer", rich_help_panel=PANEL, epilog=EXAMPLES)(trainer)


def trainer(
    data: Data = None,
    path: Annotated[
        list[Path] | None,
        typer.Option(
            metavar="DIR",
            help="A folder with packages that bring recipes, as `pip install --target DIR` leaves it; repeatable.",
        ),
    ] = None,
    resource_class: Annotated[
        str, typer.Option(metavar="CLASS", help="It takes jobs of this class, as `zoo finetune --resource-class` says.")
    ] = "cpu",
    threads: Annotated[int, typer.Option(min=0, help="Threads of one training; 0: as many as there are cores.")] = 0,
) -> None:
    """Start one more trainer for the zoo that is up on this machine, and stay until Ctrl-C, which lets it give its job
    back with a checkpoint. `zoo down` ends it, too.

    It knows the recipes of the environment that it is started in, and those of --path. Only trainers that know a job's
    recipe, and are of its class, get the job."""
    from zoo_local.cluster import available_cores
    from zoo_local.processes import Plan, plan_another_trainer
    from zoo_local.status import read_report
    from zoo_server.credentials import make_credentials

    layout = data_layout(data)
    ports = {process.name: process.port for process in read_report(layout).processes}
    missing = [folder for folder in path or () if not folder.is_dir()]
    if missing:
        raise typer.BadParameter(f"{missing[0]} is no folder.", param_hint="--path")
    credentials = make_credentials(layout.secrets)
    plan = Plan(layout, credentials, ports, 1, 0, threads or available_cores(), dict(os.environ))
    process = plan_another_trainer(plan)
    own = {"ZOO_RESOURCE_CLASS": resource_class}
    if path:
        own["PYTHONPATH"] = os.pathsep.join(str(folder.resolve()) for folder in path)
    note(f"a trainer of the class {resource_class} for the zoo in {layout.root}; Ctrl-C stops it")
    sys.stderr.flush()
    os.execve(process.argv[0], process.argv, {**process.env, **own})  # noqa: S606 - its own program, and no shell
