"""What a trained version says of itself: a card for people, `training.json` and `evaluation.json` for programs."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from zoo_trainer.environment import environment
from zoo_trainer.evaluation import Measurement

__all__ = ["Run", "write_card"]

RECORD, TABLES, CARD = "training.json", "evaluation.json", "README.md"
CLASSES_SHOWN = 50
CONFUSED_SHOWN = 10
MISHEARD_SHOWN = 10


@dataclass(frozen=True, slots=True)
class Run:
    """A training as it went. `used` is as Result.used; `split` names what was measured on; `licence` is the base's, as
    its card has it."""

    job: str
    output: str
    task: str
    base: str
    base_digest: str
    dataset: str
    dataset_digest: str
    recipe: str
    settings: Mapping[str, Any]
    seed: int
    steps: int
    train_rows: int
    split: str
    before: Measurement
    after: Measurement
    best_step: int
    used: Mapping[str, float]
    parameters: int
    trained_parameters: int
    is_adapter: bool
    notes: Sequence[str]
    licence: Mapping[str, Any]


def write_card(folder: Path, run: Run) -> None:
    """Leave the card, the record and the tables in `folder`."""
    record = {
        "job": run.job,
        "recipe": run.recipe,
        "settings": dict(run.settings),
        "base": {"reference": run.base, "manifest_digest": run.base_digest},
        "dataset": {"reference": run.dataset, "manifest_digest": run.dataset_digest},
        "seed": run.seed,
        "steps": run.steps,
        "train_rows": run.train_rows,
        "parameters": run.parameters,
        "trained_parameters": run.trained_parameters,
        "used": dict(run.used),
        "notes": list(run.notes),
        **environment().to_json(),
    }
    tables = {"split": run.split, "before": run.before.to_json(), "after": run.after.to_json()}
    (folder / RECORD).write_text(json.dumps(record, indent=2) + "\n")
    (folder / TABLES).write_text(json.dumps(tables, indent=2) + "\n")
    (folder / CARD).write_text("\n".join(_card(run)) + "\n")


def _card(run: Run) -> list[str]:
    what = "An adapter of" if run.is_adapter else "Fine-tuned from"
    lines = [
        *("---", *_front_matter(run), "---", "", f"# {run.output.partition('/')[2]}", ""),
        f"{what} `{run.base}` with `{run.dataset}` by the recipe `{run.recipe}`, in the job `{run.job}`.",
        *("", f"## Measured on {run.after.items:,} rows of {run.split}, which were not trained on", ""),
        *("| metric | the base | this version | always the commonest label |", "|---|---|---|---|"),
    ]
    for name, after in run.after.metrics.items():
        before, majority = run.before.metrics.get(name), run.after.majority.get(name)
        shown = ["" if each is None else f"{each:.4f}" for each in (before, majority)]
        lines.append(f"| {name} | {shown[0]} | **{after:.4f}** | {shown[1]} |")
    if run.after.classes or run.after.boxes:
        lines += ["", "A base without a head for these labels was measured with a new one, drawn at random."]
        lines += _class_table(run.after) if run.after.classes else _box_table(run.after)
    if run.after.misheard:
        lines += _misheard_table(run.after)
    lines += ["", "## Training", ""]
    used = run.used
    lines.append(
        f"{run.steps:,} steps on {run.train_rows:,} rows; {run.trained_parameters:,} of {run.parameters:,} parameters "
        f"were trained. That took {used['wall_seconds']:.0f} seconds, {used['cpu_seconds']:.0f} of processor time, and "
        f"{used['memory_bytes'] / 2**20:,.0f} MiB of memory at most{_of_gpus(used)}."
    )
    if run.best_step and run.best_step != run.steps:
        lines.append(f"These are the weights of step {run.best_step:,}, the best on the validation split.")
    lines += ["", "| parameter | value |", "|---|---|"]
    lines += [f"| {name} | {value} |" for name, value in [*run.settings.items(), ("seed", run.seed)]]
    if run.notes:
        lines += ["", "## Notes", "", *(f"- {note}" for note in run.notes)]
    lines += ["", f"`{RECORD}` and `{TABLES}` have the same for programs."]
    return lines


def _front_matter(run: Run) -> list[str]:
    """As the Hub's cards have it. JSON is YAML that needs no thought about what to quote."""
    facts: dict[str, Any] = {
        "pipeline_tag": run.task,
        "base_model": run.base.partition("@")[0],
        "base_model_relation": "adapter" if run.is_adapter else "finetune",
        "datasets": [run.dataset.partition("@")[0]],
        **run.licence,
    }
    return [f"{name}: {value if name == 'pipeline_tag' else json.dumps(value)}" for name, value in facts.items()]


def _of_gpus(used: Mapping[str, float]) -> str:
    if "gpu_seconds" not in used:
        return ""
    memory_bytes = used.get("gpu_memory_bytes", 0.0)
    return f"; of GPUs, {used['gpu_seconds']:.0f} seconds and {memory_bytes / 2**20:,.0f} MiB of memory"


def _class_table(measured: Measurement) -> list[str]:
    lines = ["", "## By label", "", "| label | rows | precision | recall | F1 |", "|---|---|---|---|---|"]
    for each in measured.classes[:CLASSES_SHOWN]:
        lines.append(
            f"| {_cell(each.label)} | {each.rows:,} | {each.precision:.3f} | {each.recall:.3f} | {each.f1:.3f} |"
        )
    if len(measured.classes) > CLASSES_SHOWN:
        lines.append(f"\nand {len(measured.classes) - CLASSES_SHOWN} more in `{TABLES}`.")
    confused = sorted(
        (
            (count, measured.classes[true].label, measured.classes[said].label)
            for true, row in enumerate(measured.confusion)
            for said, count in enumerate(row)
            if true != said and count
        ),
        reverse=True,
    )
    if confused:
        lines += ["", "Confused most often:", "", "| rows | are | were called |", "|---|---|---|"]
        lines += [f"| {count:,} | {_cell(true)} | {_cell(said)} |" for count, true, said in confused[:CONFUSED_SHOWN]]
    return lines


def _box_table(measured: Measurement) -> list[str]:
    lines = ["", "## By label", "", "| label | boxes | AP, IoU 0.50 to 0.95 | AP, IoU 0.50 |", "|---|---|---|---|"]
    for each in measured.boxes[:CLASSES_SHOWN]:
        shown = [
            "" if value is None else f"{value:.3f}" for value in (each.average_precision, each.average_precision_50)
        ]
        lines.append(f"| {_cell(each.label)} | {each.boxes:,} | {shown[0]} | {shown[1]} |")
    if len(measured.boxes) > CLASSES_SHOWN:
        lines.append(f"\nand {len(measured.boxes) - CLASSES_SHOWN} more in `{TABLES}`.")
    return lines


def _misheard_table(measured: Measurement) -> list[str]:
    lines = ["", "## Written down wrongly", "", "| row | was said | was written | wrong words |", "|---|---|---|---|"]
    for each in measured.misheard[:MISHEARD_SHOWN]:
        lines.append(f"| {each.row} | {_cell(each.said)} | {_cell(each.written)} | {each.errors} of {each.words} |")
    return lines


def _cell(label: str) -> str:
    """A label as a table's cell; it is somebody's data, and may hold anything."""
    return " ".join(label.replace("|", "\\|").replace("<", "&lt;").split())[:200]
