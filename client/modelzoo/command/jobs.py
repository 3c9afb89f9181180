"""`zoo jobs`: what trains, trained, and waits for its turn."""

import itertools
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated

import typer

from modelzoo.command.failure import FOUND
from modelzoo.command.following import detaching, follow
from modelzoo.command.interruptible import interruptible
from modelzoo.command.job_diff import diff_jobs
from modelzoo.command.job_text import (
    duration_text,
    event_line,
    job_seconds,
    measured_rows,
    number_text,
    progress_text,
    spec_rows,
)
from modelzoo.command.session import open_client, wants_json
from modelzoo.command.sweeping import show_sweep
from modelzoo.command.terminal import answer, json_line, line, note, print_table, short_time, write_piece

if TYPE_CHECKING:
    from modelzoo.training_records import Job

__all__ = ["register"]

JobArgument = Annotated[str, typer.Argument(metavar="JOB", help="`job_...`, as `zoo jobs list` shows it.")]
AfterOption = Annotated[
    int, typer.Option(min=0, metavar="SEQUENCE", help="Only what came after this event; 0: from the first.")
]
LISTED = 20
STATES = ("queued", "running", "paused", "succeeded", "failed", "cancelled")
LIST_EXAMPLES = """\
Examples:

\b
  zoo jobs list --state running
  zoo jobs list --namespace team --filter "recipe = text-classification AND priority > 0"
  zoo jobs list --json | jq -r '.jobs[] | select(.state == "FAILED") | .name'
"""

app = typer.Typer(help="Look at jobs that train models, and decide about them.", no_args_is_help=True)


def register(root: typer.Typer) -> None:
    """Add the group."""
    root.add_typer(app, name="jobs")


@app.command("list", epilog=LIST_EXAMPLES)
def list_jobs(
    namespace: Annotated[str, typer.Option(help="Only those whose output is of this namespace.")] = "",
    state: Annotated[str, typer.Option(help=f"Only those that are {', '.join(STATES[:-1])} or {STATES[-1]}.")] = "",
    filter: Annotated[
        str,
        typer.Option(
            help="Only those that fulfil this: conditions over `state`, `recipe`, `base`, `dataset`, `output`, "
            "`creator`, `sweep`, `resource_class`, `priority`, `create_time`, `labels.NAME`, joined by AND, OR and NOT."
        ),
    ] = "",
    limit: Annotated[int, typer.Option(min=0, help="So many at most; 0: all.")] = LISTED,
) -> None:
    """List jobs, the newest first: what each trains, how far it is, and what came of it."""
    if state and state.lower() not in STATES:
        raise typer.BadParameter(f"{state!a} is none of {', '.join(STATES)}.", param_hint="--state")
    conditions = [f"state = {state.upper()}" if state else "", f"({filter})" if state and filter else filter]
    with open_client() as client:
        found = client.jobs.list(namespace, filter=" AND ".join(each for each in conditions if each))
        jobs = list(itertools.islice(found, limit or None))
        # What a recipe's results are compared by: of what was measured, the number to look at.
        metrics = {recipe.name: recipe.metric for recipe in client.jobs.recipes()} if jobs else {}
    answer({"jobs": jobs}, lambda: _print_jobs(jobs, metrics))


@app.command("show")
def show(name: JobArgument) -> None:
    """Show a job: its state and why, what it was told, how far it is, what was measured before and after."""
    with open_client() as client:
        job = client.jobs.get(name)
    answer(job, lambda: _print_job(job))


@app.command("watch", epilog="Examples:\n\n\b\n  zoo jobs watch JOB\n  zoo jobs watch JOB --json > events.jsonl")
def watch(name: JobArgument, after: AfterOption = 0) -> None:
    """Follow a job until it ends, from its first event on: on a terminal with a curve of its loss, elsewhere as lines,
    with --json as one object a line. Broken connections are made good. Ctrl-C stops the watching alone. The exit code
    is 0 where the job succeeded, 7 where it failed or was cancelled."""
    with open_client() as client, detaching(name, f"zoo jobs watch {name}"):
        job = client.jobs.open(name)
        if wants_json():
            for event in interruptible(job.watch(after)):
                write_piece(json_line(event))
            job.refresh()
        else:
            follow(job, after, aside=False)
            _print_end(job.record)
    if job.record.state != "SUCCEEDED":
        raise typer.Exit(FOUND)


@app.command("logs")
def logs(
    name: JobArgument,
    go_on: Annotated[bool, typer.Option("--follow", "-f", help="Go on until the job ends.")] = False,
    after: AfterOption = 0,
) -> None:
    """Print what happened to a job, a line for each event but the numbers of single steps: states, what its trainers
    said, checkpoints. With --json one object a line."""
    with open_client() as client, detaching(name, f"zoo jobs logs {name} --follow"):
        for event in interruptible(client.jobs.watch(name, after, follow=go_on)):
            if event.metrics is None:
                write_piece(json_line(event) if wants_json() else f"{event_line(event)}\n")


@app.command("cancel")
def cancel(name: JobArgument) -> None:
    """End a job. One that waits ends at once, a running one at its trainer's next step; what it has learned is lost."""
    with open_client() as client:
        job = client.jobs.cancel(name)
    answer(job, lambda: line(_decided(job, "CANCELLED")))


@app.command("pause")
def pause(name: JobArgument) -> None:
    """Let a job wait; a running one makes a checkpoint first, and its trainer is free for others."""
    with open_client() as client:
        job = client.jobs.pause(name)
    answer(job, lambda: line(_decided(job, "PAUSED")))


@app.command("resume")
def resume(name: JobArgument) -> None:
    """Let a paused job go on, from its last checkpoint."""
    with open_client() as client:
        job = client.jobs.resume(name)
    answer(job, lambda: line(_decided(job, "QUEUED")))


@app.command("retry")
def retry(name: JobArgument) -> None:
    """Queue a new job that does what one does that is over: the same versions, recipe, parameters and seed, without its
    deadline. It answers the new job's name; `zoo jobs show` names the old one there."""
    with open_client() as client:
        before = client.jobs.get(name)
        # A deadline of then may have passed.
        spec = replace(before.spec, deadline=None)
        job = client.jobs.create(spec, priority=before.priority, labels=before.labels, retry_of=name)
    answer(job, lambda: line(job.name))
    note(f"`zoo jobs watch {job.name}` follows it")


@app.command("update")
def update(
    name: JobArgument,
    priority: Annotated[int | None, typer.Option(min=-10, max=10, help="Higher ones are started first.")] = None,
    label: Annotated[
        list[str] | None, typer.Option(metavar="NAME=VALUE", help="A label in place of all that it has; repeatable.")
    ] = None,
) -> None:
    """Change a job's priority or its labels."""
    labels = None if label is None else dict(_label(text) for text in label)
    with open_client() as client:
        job = client.jobs.update(name, priority=priority, labels=labels)
    answer(job, lambda: line(f"{job.name}: priority {job.priority}{_labels(job)}"))


@app.command("diff")
def diff(
    a: Annotated[str, typer.Argument(metavar="A", help="A job.")],
    b: Annotated[str, typer.Argument(metavar="B", help="Another.")],
    all: Annotated[bool, typer.Option("--all", help="Also show what is the same.")] = False,
) -> None:
    """Show two jobs side by side: recipe, base, data, parameters, what was measured, how long they took."""
    with open_client() as client:
        rows = diff_jobs(client.jobs.get(a), client.jobs.get(b))
    shown = [row for row in rows if all or row.differs]
    header = ("", a, b)
    answer(
        {"a": a, "b": b, "differences": shown},
        lambda: print_table(header, [(row.name, row.a, row.b) for row in shown]) if shown else line("they are alike"),
    )


@app.command("sweep")
def sweep(
    name: Annotated[str, typer.Argument(metavar="SWEEP", help="`sweep_...`, as `zoo finetune --try` says.")],
) -> None:
    """Show the trials of a sweep: what each tried, its state, what was measured, and which is the best."""
    with open_client() as client:
        found = client.jobs.sweep(name)
        show_sweep(found, [client.jobs.get(job) for job in found.jobs])


def _print_jobs(jobs: "list[Job]", metrics: Mapping[str, str]) -> None:
    print_table(
        ("JOB", "STATE", "RECIPE", "BASE", "OUTPUT", "STEP", "LOSS", "METRIC", "RESULT", "CREATED"),
        [
            (
                job.name,
                _state(job),
                job.spec.recipe,
                job.spec.base,
                job.spec.output,
                f"{job.progress.step}/{job.progress.steps}" if job.progress.steps else "-",
                number_text(job.progress.loss),
                _metric(job, metrics.get(job.spec.recipe, "")),
                job.result or job.reason or "-",
                short_time(job.create_time),
            )
            for job in jobs
        ],
    )


def _metric(job: "Job", metric: str) -> str:
    """`accuracy 0.23 -> 0.9`, of its recipe's metric, or else of what was measured first; `-` before its end."""
    found = next((each for each in job.measured if each.metric == metric), next(iter(job.measured), None))
    return "-" if found is None else f"{found.metric} {number_text(found.before)} -> {number_text(found.after)}"


def _print_job(job: "Job") -> None:
    line(f"{job.name}  {_state(job)}")
    if job.message:
        line(f"{job.reason}: {job.message}" if job.reason else job.message)
    line()
    # Nothing is left to do where nobody is at it.
    progress = job.progress if job.state == "RUNNING" else replace(job.progress, remaining_s=None)
    facts = [
        ("result", job.result),
        ("progress", progress_text(progress) if progress.step else ""),
        ("host", job.host),
        ("attempts", str(job.attempts) if job.attempts else ""),
        ("checkpoint", f"at step {job.checkpoint.step:,}" if job.checkpoint else ""),
        ("priority", str(job.priority) if job.priority else ""),
        ("labels", _labels(job).strip()),
        ("sweep", job.sweep),
        ("retry of", job.retry_of),
        ("created", f"{short_time(job.create_time)} by {job.creator}"),
        ("started", short_time(job.start_time) if job.start_time else ""),
        ("ended", short_time(job.end_time) if job.end_time else ""),
        ("took", duration_text(job_seconds(job)) if job_seconds(job) is not None else ""),
    ]
    print_table(("FACT", "VALUE"), [(name, value) for name, value in facts if value])
    line()
    print_table(("WHAT", "VALUE"), spec_rows(job))
    if job.measured:
        line()
        print_table(("METRIC", "BEFORE", "AFTER", "MAJORITY", "SPLIT", "ITEMS"), measured_rows(job.measured))


def _print_end(job: "Job") -> None:
    if job.state == "SUCCEEDED":
        line(f"{job.name}: {job.result} is ready")
    elif job.is_final:
        line(f"{job.name}: {job.state}" + (f", {job.reason}: {job.message}" if job.reason else ""))


def _state(job: "Job") -> str:
    """What it is and, where it is not the same, what it is to become."""
    if job.is_final or job.wanted == "RUN" or (job.wanted == "PAUSE" and job.state == "PAUSED"):
        return job.state
    return f"{job.state} (to {job.wanted.lower()})"


def _decided(job: "Job", state: str) -> str:
    if job.state == state or state == "QUEUED":
        return f"{job.name}: {job.state}"
    return f"{job.name}: {job.state}; it will be {state} at its trainer's next step"


def _label(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not name or not equals:
        raise typer.BadParameter(f"{text!a} is not NAME=VALUE.", param_hint="--label")
    return name, value


def _labels(job: "Job") -> str:
    return "".join(f"  {name}={value}" for name, value in sorted(job.labels.items()))
