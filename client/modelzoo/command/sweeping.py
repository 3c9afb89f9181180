"""Sweeps: the same training with several parameters, and which did best."""

import re
import threading
from collections.abc import Sequence
from typing import TYPE_CHECKING

import typer

from modelzoo.command.following import detaching
from modelzoo.command.interruptible import interruptible
from modelzoo.command.job_text import number_text
from modelzoo.command.terminal import answer, line, note, print_table

if TYPE_CHECKING:
    from modelzoo.client import Client
    from modelzoo.training_records import Choices, Job, Recipe, Sweep

__all__ = ["follow_sweep", "read_choices", "show_sweep"]

_RANGE = re.compile(r"(.+?)\.\.(.+?)(:log)?")
LOOK_EVERY_S = 1.0


def read_choices(recipe: "Recipe", texts: Sequence[str], *, is_random: bool) -> "dict[str, Choices]":
    """What each `NAME=VALUE,VALUE` or, drawn at random, `NAME=LOW..HIGH[:log]` says. Raises as `read_value`."""
    from modelzoo.recipe_choice import read_value
    from modelzoo.training_records import Choices

    found: dict[str, Choices] = {}
    for text in texts:
        name, equals, values = text.partition("=")
        if not name or not equals or not values:
            raise typer.BadParameter(f"{text!a} is not NAME=VALUE,VALUE.", param_hint="--try")
        if name in found:
            raise typer.BadParameter(f"{name} is given twice: put its values together.", param_hint="--try")
        matched = _RANGE.fullmatch(values)
        if matched is None:
            found[name] = Choices(tuple(read_value(recipe, name, value) for value in values.split(",")))
            continue
        if not is_random:
            raise typer.BadParameter(f"{text!a} is a range: say with --trials how often to draw.", param_hint="--try")
        low, high = (float(read_value(recipe, name, matched[side])) for side in (1, 2))
        found[name] = Choices((), low, high, matched[3] is not None)
    return found


def follow_sweep(client: "Client", sweep: "Sweep") -> None:
    """Tell of each trial as it ends, wait until the best is promoted, then answer them all."""
    with detaching(sweep.name, f"zoo jobs sweep {sweep.name}"):
        for place, name in enumerate(sweep.jobs, 1):
            job = client.jobs.open(name)
            for _ in interruptible(job.watch(job.record.last_sequence)):
                pass
            note(f"{place} of {len(sweep.jobs)}  {_trial(sweep, job.refresh())}")
        pause = threading.Event()
        while (found := client.jobs.sweep(sweep.name)).end_time is None:
            pause.wait(LOOK_EVERY_S)
    show_sweep(found, [client.jobs.get(job) for job in found.jobs])


def show_sweep(sweep: "Sweep", jobs: "Sequence[Job]") -> None:
    """Answer the sweep with its jobs."""
    answer({"sweep": sweep, "jobs": jobs}, lambda: _print(sweep, jobs))


def _print(sweep: "Sweep", jobs: "Sequence[Job]") -> None:
    ended = "" if sweep.end_time else f", {sweep.finished} of {len(sweep.jobs)} done"
    line(f"{sweep.name}  {sweep.method.lower()} over {', '.join(sweep.choices)}{ended}")
    line()
    names = list(sweep.choices)
    metrics = list(dict.fromkeys(each.metric for job in jobs for each in job.measured))
    print_table(
        ("JOB", "STATE", *names, *metrics, "RESULT", ""),
        [
            (
                job.name,
                job.state,
                *(str(job.spec.parameters.get(name, "-")) for name in names),
                *(_metric(job, metric) for metric in metrics),
                job.result or job.reason or "-",
                "best" if job.name == sweep.best else "",
            )
            for job in jobs
        ],
    )
    if sweep.message:
        line()
        line(sweep.message)


def _trial(sweep: "Sweep", job: "Job") -> str:
    tried = " ".join(f"{name}={job.spec.parameters.get(name, '-')}" for name in sweep.choices)
    measured = "  ".join(f"{each.metric} {number_text(each.after)}" for each in job.measured)
    return "  ".join(part for part in (job.state, tried, measured or job.reason, job.name) if part)


def _metric(job: "Job", metric: str) -> str:
    return next((number_text(each.after) for each in job.measured if each.metric == metric), "-")
