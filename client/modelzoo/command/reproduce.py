"""`zoo reproduce`: does the recorded training make the same tensors again?"""

import math
from typing import TYPE_CHECKING, Annotated

import typer

from modelzoo.command.arguments import ReferenceArgument
from modelzoo.command.bars import progress_bar
from modelzoo.command.following import detaching, follow
from modelzoo.command.session import open_client
from modelzoo.command.terminal import answer, line, note, print_table

if TYPE_CHECKING:
    from modelzoo.reproducing import Reproduction

__all__ = ["register"]

DIFFERENT = 1
SHOWN = 20
EXAMPLES = """\
Examples:

\b
  zoo reproduce team/topics@3
  zoo reproduce team/topics@3 --to scratch/topics
  zoo reproduce team/topics@3 --job job_0198...      # compare with a run that there is already
"""


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("reproduce", epilog=EXAMPLES)(reproduce)


def reproduce(
    ref: ReferenceArgument,
    to: Annotated[
        str,
        typer.Option(metavar="NAMESPACE/NAME", help="The model that gets the new version; NAME-reproduced otherwise."),
    ] = "",
    job: Annotated[
        str, typer.Option(metavar="JOB", help="Train nothing: compare with what this job made, or is about to make.")
    ] = "",
    all: Annotated[bool, typer.Option("--all", help="Also list the tensors that agree.")] = False,
) -> None:
    """Run the job that made a version again, with the same base, data, recipe, parameters and seed, and say of each
    tensor whether it came out the same, bit for bit.

    The exit code is 0 where all agree and 1 where not; then it says how far they are apart and what is likely to have
    made the difference: other versions of libraries, another processor, several threads. Ctrl-C detaches, and the job
    goes on. The new version is one like any other: delete it when you have seen it."""
    from modelzoo.reproducing import compare_runs, find_recorded, run_again

    with open_client() as client:
        recorded = find_recorded(client, ref)
        note(
            f"{recorded.version.reference} was made by {recorded.job.name}: {recorded.job.spec.recipe}, seed "
            f"{recorded.job.spec.seed}, base {recorded.job.spec.base}, data {recorded.job.spec.dataset}"
        )
        again = client.jobs.open(job) if job else run_again(client, recorded, to)
        note(f"job       {again.name}, into {again.record.spec.output}")
        command = f"zoo reproduce {recorded.version.reference} --job {again.name}"
        with detaching(again.name, command, f"zoo jobs cancel {again.name}"):
            follow(again, aside=True)
            version = again.result()
            with progress_bar(f"comparing {version.reference}") as progress:
                found = compare_runs(client, recorded, again.record, version, progress)
    answer({"is_equal": found.is_equal, "reproduction": found}, lambda: _print(found, all))
    if not found.is_equal:
        raise typer.Exit(DIFFERENT)


def _print(found: "Reproduction", all: bool) -> None:
    differing = sorted(
        (each for each in found.tensors if not each.agrees), key=lambda each: -(each.largest or math.inf)
    )
    shown = found.tensors if all else differing[:SHOWN]
    if shown:
        rows = [
            (each.name, "the same" if each.agrees else each.why or f"differs by at most {each.largest:.3g}")
            for each in shown
        ]
        print_table(("TENSOR", "BOTH RUNS"), rows)
        line()
    if len(differing) > SHOWN and not all:
        note(f"{len(differing) - SHOWN} more differ: --all lists them")
    if found.is_equal:
        line(f"reproduced: all {len(found.tensors)} tensors of {found.reference} and {found.reproduced} are the same")
        return
    count = f"{len(differing)} of {len(found.tensors)} tensors"
    line(f"not reproduced: {count} of {found.reference} and {found.reproduced} differ")
    line("likely because of:")
    for cause in found.causes:
        line(f"  {cause}")
