"""`zoo starters`: the models that every zoo begins with."""

import json
import math
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import platformdirs
import typer

from modelzoo.command.session import open_client, wants_json
from modelzoo.command.terminal import answer, note, print_table

if TYPE_CHECKING:
    from modelzoo.training_job import TrainingJob
    from zoo_starters.starter import Measured, Starter

__all__ = ["WORK", "is_as_good", "register"]

WORK = Path(platformdirs.user_cache_dir("modelzoo")) / "starters"
# Of a stand-in for a trained model: enough to have every file that the real one has.
QUICK_STEPS = 20
# Between what the card says and what is measured again. Processors differ in the last bits, so an item or two in a
# thousand may fall on the other side.
RELATIVE_TOLERANCE = 0.01
# Of an untrained network, whose figures are next to nothing.
ABSOLUTE_TOLERANCE = 0.002

app = typer.Typer(
    help="Publish the starter models: small real ones, converted from pinned packages or trained on their data.",
    no_args_is_help=True,
)

Names = Annotated[list[str] | None, typer.Argument(metavar="[NAME]...", help="Such as zoo/gpt2-mini or gpt2-mini.")]
All = Annotated[bool, typer.Option("--all", help="Every one, those that jobs train, too.")]


@app.command("list")
def list_starters() -> None:
    """List the starter models: what they do, how they are made or whether that was done here, where they come from."""
    rows = [(each.name, each.task, _state(each), each.source) for each in _starters()]
    header = ("NAME", "TASK", "STATE", "SOURCE")
    answer(
        {"starters": [dict(zip(map(str.lower, header), row, strict=True)) for row in rows]},
        lambda: print_table(header, rows),
    )


@app.command("publish")
def publish_starters(
    names: Names = None,
    every: All = False,
    quick: Annotated[
        bool, typer.Option("--quick", help=f"Train for {QUICK_STEPS} steps only: stand-ins that know next to nothing.")
    ] = False,
) -> None:
    """Publish starter models: the ready ones where none is named. Those that are there already are left alone.

    Some are trained by jobs of the zoo, each from an untrained network and a dataset that are published first: minutes
    on two cores. A stand-in (--quick) is trained on this machine for a moment, says what it is, and never takes the
    place of the real one.
    """
    from modelzoo.command.following import detaching, follow
    from zoo_starters.publish import publish

    def show(job: "TrainingJob") -> None:
        note(f"trained by the job {job.name}")
        with detaching("the job", "zoo starters publish", f"zoo jobs cancel {job.name}"):
            follow(job, aside=True)

    chosen = _chosen(names) if names else [each for each in _starters() if every or each.training is None]
    references: list[str] = []
    with open_client() as client:
        for starter in chosen:
            steps = QUICK_STEPS if quick and starter.training else None
            references.append(publish(client, starter, WORK, note, steps=steps, follow=show))
            note(f"ready: {references[-1]}")
    if wants_json():
        typer.echo(json.dumps({"references": references}))


@app.command("build")
def build_starters(names: Names = None, every: All = False) -> None:
    """Make starter models on this machine, without a zoo: convert them, or train them by the recipe that a job of the
    zoo would use. With --all, what is trained is left to the jobs."""
    from zoo_starters.starter import build

    if not names and not every:
        raise typer.BadParameter("name what to build, or say --all", param_hint="NAME")
    chosen = _chosen(names) if names else [each for each in _starters() if each.training is None]
    folders = {starter.name: build(starter, WORK) for starter in chosen}
    answer(folders, lambda: print_table(("NAME", "FOLDER"), [(name, str(path)) for name, path in folders.items()]))


@app.command("check")
def check_starter(name: Annotated[str, typer.Argument(help="A trained starter that the zoo has.")]) -> None:
    """Measure a trained starter of the zoo again on its held-out data, and compare with what its card says.

    The exit code is 1 where they differ.
    """
    from zoo_starters.card import is_stand_in
    from zoo_starters.learned import read_tables
    from zoo_starters.starter import hide_bars

    hide_bars()
    (starter,) = _chosen([name])
    if starter.training is None:
        raise typer.BadParameter(f"{starter.name} was not trained here: its card has no figures of ours")
    with open_client() as client:
        folder = client.pull(starter.name)
    if is_stand_in(folder, starter.training.steps):
        raise typer.BadParameter(f"the zoo has a stand-in only: zoo starters publish {name} trains the real one")
    said = read_tables(folder)
    found = starter.training.measure(WORK / "packages", folder)
    same = len(said) == len(found) and all(map(_agree, said, found))
    answer({"model": starter.name, "same": same, "card": said, "measured": found}, lambda: _print_check(said, found))
    if not same:
        raise typer.Exit(1)


@app.command("samples")
def copy_samples_here(
    folder: Annotated[Path, typer.Argument(help="Where to; made if it is not there.")] = Path("samples"),
) -> None:
    """Copy photographs, a recorded voice and handwritten digits into a folder, to try models on."""
    from zoo_starters.samples import SAMPLES, copy_samples

    copied = copy_samples(WORK / "packages", folder)
    if wants_json():
        typer.echo(json.dumps({"files": [str(path) for path in copied]}))
        return
    for sample, path in zip(SAMPLES, copied, strict=True):
        typer.echo(f"{path}  {sample.shows} ({sample.licence}, {sample.carrier})")


@app.command("topics")
def write_topics_here(
    folder: Annotated[Path, typer.Argument(help="Where to; made if it is not there.")] = Path("topics"),
) -> None:
    """Write a dataset to try fine-tuning on: definitions of English nouns, each with its topic (WordNet 3.0)."""
    from zoo_starters.topics import CHOSEN, write_topics

    rows = write_topics(WORK / "packages", folder)
    answer(
        {"folder": folder, "rows": rows, "labels": CHOSEN},
        lambda: print_table(("FILE", "ROWS"), [(str(folder / f"{name}.jsonl"), str(n)) for name, n in rows.items()]),
    )


def register(root: typer.Typer) -> None:
    """Add `starters` to the command."""
    root.add_typer(app, name="starters")


def _state(starter: "Starter") -> str:
    from zoo_starters.starter import built_folder

    if built_folder(starter, WORK).is_dir():
        return "made here"
    return "trained by a job" if starter.training else "to be converted"


def _starters() -> "list[Starter]":
    from zoo_starters.publish import STARTERS  # not for every `zoo --help`

    return list(STARTERS)


def _chosen(names: list[str]) -> "list[Starter]":
    known = {starter.name: starter for starter in _starters()}
    full = [name if "/" in name else f"zoo/{name}" for name in names]
    unknown = [name for name in full if name not in known]
    if unknown:
        raise typer.BadParameter(
            f"{', '.join(unknown)}: no such starter; there are {', '.join(known)}", param_hint="NAME"
        )
    return [known[name] for name in full]


def _agree(said: "Measured", found: "Measured") -> bool:
    pairs = ((said.trained, found.trained), (said.baseline, found.baseline), (said.untrained, found.untrained))
    return said.items == found.items and all(is_as_good(*pair) for pair in pairs)


def is_as_good(said: float, found: float) -> bool:
    """Whether two figures are the same but for the last bits of some processor."""
    return math.isclose(said, found, rel_tol=RELATIVE_TOLERANCE, abs_tol=ABSOLUTE_TOLERANCE)


def _print_check(said: "tuple[Measured, ...]", found: "tuple[Measured, ...]") -> None:
    rows = [
        (
            each.metric,
            each.on,
            f"{card.trained:.4f}",
            f"{each.trained:.4f}",
            f"{each.baseline:.4f}",
            f"{each.untrained:.4f}",
            "yes" if _agree(card, each) else "NO",
        )
        for card, each in zip(said, found, strict=False)
    ]
    print_table(("METRIC", "ON", "CARD", "MEASURED", "BASELINE", "UNTRAINED", "SAME"), rows)
