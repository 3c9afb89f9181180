"""What `zoo finetune` is about to do, in words and as JSON."""

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING

from modelzoo.command.job_text import duration_text
from modelzoo.command.terminal import count_text, note, shortened

if TYPE_CHECKING:
    from modelzoo.finetuning import Plan
    from modelzoo.training_records import Choices

__all__ = ["count_trials", "explain", "told"]


def explain(plan: "Plan", data: str, choices: "Mapping[str, Choices]", drawn: int) -> None:
    """Note what was chosen and why, what becomes of it, and what it will cost. `drawn` trials; 0: every combination of
    the choices."""
    base = plan.base
    note(f"base      {base.reference}: {base.facts.task or 'no task'}, {count_text(base.facts.parameters)} parameters")
    splits = ", ".join(f"{_rows(split.rows)} of {split.name}" for split in plan.facts.splits)
    labels = [label for split in plan.facts.splits if split.name == "train" for label in split.labels]
    counted = f"; {len(labels)} labels: {shortened(', '.join(labels))}" if labels else ""
    note(f"data      {data}: {splits}{counted}")
    note(f"recipe    {plan.recipe.name}: {plan.why}")
    note(f"output    {_output(plan)}{_promotion(plan)}")
    note(f"trainer   {_trainer(plan)}")
    if choices:
        note(f"trials    {count_trials(choices, drawn)} jobs, which differ in {' and '.join(choices)}")
    note(f"cost      {'each ' if choices else ''}{_cost(plan)}")
    for text in plan.notes:
        note(f"warning   {text}")


def told(plan: "Plan", choices: "Mapping[str, Choices]", drawn: int) -> dict[str, object]:
    """The same for programs; `spec` is complete but for the dataset that is to be published."""
    return {
        "spec": plan.foreseen,
        "why": plan.why,
        "dataset": plan.facts,
        "notes": plan.notes,
        "steps": plan.steps,
        "parameters": plan.base.facts.parameters,
        "seconds": plan.seconds,
        "earlier_job": plan.earlier.job if plan.earlier else None,
        "output_is_new": plan.is_new,
        "trials": count_trials(choices, drawn),
    }


def count_trials(choices: "Mapping[str, Choices]", drawn: int) -> int:
    """How many jobs it is: 1 without choices."""
    return drawn or math.prod(len(each.values) for each in choices.values())


def _output(plan: "Plan") -> str:
    """In words, with the dataset that is published for it."""
    data = f", and its data {plan.foreseen.output}-data" if plan.local is not None else ""
    return f"{plan.foreseen.output}, {'a new model' if plan.is_new else 'its next version'}{data}"


def _promotion(plan: "Plan") -> str:
    promotion, metric = plan.foreseen.promotion, plan.recipe.metric
    if not promotion.alias:
        return "; no alias moves"
    if promotion.rule == "ALWAYS":
        return f"; '{promotion.alias}' moves to it"
    margin = f" by {promotion.margin:g}" if promotion.margin else ""
    return f"; '{promotion.alias}' moves to it if its {metric} is better{margin} than what '{promotion.alias}' means"


def _trainer(plan: "Plan") -> str:
    spec = plan.foreseen
    processes = f", {spec.processes} processes" if spec.processes > 1 else ""
    return f"of the resource class {spec.resource_class}{f', by {spec.executor}' if spec.executor else ''}{processes}"


def _rows(rows: int | None) -> str:
    return "an unknown number" if rows is None else f"{rows:,} rows"


def _cost(plan: "Plan") -> str:
    steps = "an unknown number of steps" if plan.steps is None else f"at most {plan.steps:,} steps"
    parameters = f"at most {count_text(plan.base.facts.parameters)} parameters trained"
    if plan.earlier is None or plan.seconds is None:
        return f"{steps}, {parameters}; how long is not known: no job of this recipe and base was done before"
    return f"{steps}, {parameters}; about {duration_text(plan.seconds)}, as {plan.earlier.job} took"
