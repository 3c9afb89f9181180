"""What a trained starter says of itself: a card for people and `training.json` for programs, from one measurement."""

import json
from collections.abc import Sequence
from dataclasses import asdict
from importlib import resources
from importlib.metadata import version
from pathlib import Path
from string import Template
from textwrap import fill
from typing import Any

from zoo_starters.starter import Measured
from zoo_starters.training import Trained

__all__ = ["is_stand_in", "read_measured", "write_card"]

RECORD = "training.json"
CARD = "README.md"
WIDTH = 120


def write_card(folder: Path, name: str, trained: Trained, full_steps: int, measured: Sequence[Measured]) -> None:
    """Leave the card and the record in `folder`; `cards/<name>.md` is the card but for `$results`.

    Where the model had fewer than `full_steps` steps, the card begins with saying so.
    """
    record: dict[str, Any] = {
        "seed": trained.plan.seed,
        "steps": trained.plan.steps,
        "full_steps": full_steps,
        "batch_size": trained.plan.batch_size,
        "peak_rate": trained.plan.peak_rate,
        "weight_decay": trained.plan.weight_decay,
        "parameters": trained.parameters,
        "threads": trained.threads,
        "seconds": round(trained.seconds, 1),
        "cpu_seconds": round(trained.cpu_seconds, 1),
        "last_loss": round(trained.loss, 4),
        "software": {package: version(package) for package in ("torch", "transformers")},
        "measured": [asdict(each) for each in measured],
    }
    (folder / RECORD).write_text(json.dumps(record, indent=2) + "\n")
    template = Template((resources.files("zoo_starters") / "cards" / f"{name}.md").read_text())
    (folder / CARD).write_text(template.substitute(results=_results(trained, full_steps, measured)))


def read_measured(folder: Path) -> tuple[Measured, ...]:
    """The figures of a directory's card, as `write_card` left them."""
    record = json.loads((folder / RECORD).read_text())
    return tuple(Measured(**each) for each in record["measured"])


def is_stand_in(folder: Path) -> bool:
    """Whether the directory's model had fewer steps than the published one has."""
    record = json.loads((folder / RECORD).read_text())
    return bool(record["steps"] < record["full_steps"])


def _results(trained: Trained, full_steps: int, measured: Sequence[Measured]) -> str:
    plan = trained.plan
    lines: list[str] = []
    if plan.steps < full_steps:
        lines += [f"**A stand-in for tests and demonstrations: {plan.steps} of {full_steps} training steps.**", ""]
    lines += ["| measured on held-out data | this model | nothing learned | untrained |", "|---|---|---|---|"]
    for each in measured:
        what = f"{each.metric} on {each.items:,} {each.on}"
        baseline = f"{each.baseline:.3f} ({each.baseline_name})"
        lines.append(f"| {what} | **{each.trained:.3f}** | {baseline} | {each.untrained:.3f} |")
    threads = "one thread" if trained.threads == 1 else f"{trained.threads} threads"
    took = (
        f"{trained.parameters:,} parameters, trained from scratch: {plan.steps:,} steps of {plan.batch_size} items, "
        f"AdamW with a peak rate of {plan.peak_rate:g}, seed {plan.seed}. That took {trained.seconds:.0f} seconds "
        f"({trained.cpu_seconds:.0f} of processor time) on {threads}. The file training.json has the same for programs."
    )
    lines += ["", fill(took, WIDTH)]
    return "\n".join(lines)
