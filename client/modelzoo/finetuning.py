"""From a base and data to a job: everything that can be known is checked before anything is sent."""

import math
import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from modelzoo.adapter_base import FORMAT as ADAPTER
from modelzoo.datasets.boxes import OBJECTS
from modelzoo.datasets.checking import Checked, check_facts
from modelzoo.datasets.facts import DatasetFacts
from modelzoo.errors import FailedPrecondition, InvalidArgument, NotFound, ZooError
from modelzoo.progress import Progress
from modelzoo.recipe_choice import check_parameters, choose_recipe, read_value
from modelzoo.records import Version
from modelzoo.reference import Reference, parse
from modelzoo.training_data import check_local, columns_of, local_data, publish_local
from modelzoo.training_records import Budget, Job, JobSpec, ParameterValue, Recipe

if TYPE_CHECKING:
    from modelzoo.client import Client

__all__ = ["Earlier", "Plan", "expected_steps", "prepare", "publish"]

TRAIN = "train"
RESOURCE_CLASS = "cpu"  # where a job says none
# Parameters whose names mean the same in every recipe that has them.
EPOCHS, BATCH_SIZE = "epochs", "batch_size"
# Of `Job.used`: the seconds that its steps took.
WALL_SECONDS = "wall_seconds"
# Earlier jobs that are looked at for how long one takes.
LOOKED_AT = 5


@dataclass(frozen=True, slots=True)
class Earlier:
    """A job of the same recipe and base that was done: how long it took for a step, and for all that is not steps
    (loading, measuring before and after, publishing)."""

    job: str
    seconds_per_step: float
    seconds_beside: float


@dataclass(frozen=True, slots=True)
class Plan:
    """What will be trained, decided but not begun. `spec` lacks the dataset while the data are `local`. `foreseen` is
    what the zoo would make of it; `is_new`: the output's first version.

    `why` says why it is this recipe. `steps` None: not known beforehand. `notes` are worth a second look.
    """

    spec: JobSpec
    foreseen: JobSpec
    is_new: bool
    base: Version
    recipe: Recipe
    why: str
    facts: DatasetFacts
    notes: tuple[str, ...]
    local: Path | None
    steps: int | None
    earlier: Earlier | None

    @property
    def seconds(self) -> float | None:
        """How long it will take, roughly, if it is like the earlier job; None where there is none."""
        if self.earlier is None or self.steps is None:
            return None
        return self.earlier.seconds_beside + self.earlier.seconds_per_step * self.steps


def prepare(
    client: "Client", spec: JobSpec, data: str | os.PathLike[str], texts: Mapping[str, str] | None = None
) -> Plan:
    """The plan for `spec`, whose dataset are these data, and whose base, recipe and parameters it fills in and checks.
    `texts` are parameters as people write them. The zoo has said that it would queue the job as things stand.

    Raises what `Jobs.check` does (NAMESPACE_NOT_FOUND, ROLE_MISSING, TRAINER_MISSING, QUOTA_EXCEEDED, ...), what
    looking at the data raises (DATASET_INVALID, DATASET_UNSUITABLE, LOCAL_PATH_INVALID), what choosing a recipe does
    (RECIPE_UNKNOWN, TASK_MISMATCH, COLUMN_MISSING), PARAMETER_UNKNOWN and PARAMETER_INVALID.
    """
    output = _model(spec.output)
    base = client.version(spec.base)
    _require_full(base)
    local = local_data(data)
    dataset, notes = "", ()
    if local is not None:
        checked = _checked(client, spec, base, local)
        facts, notes = checked.facts, checked.notes
    else:
        dataset, facts = _stored(client, str(data))
    columns = [feature.name for feature in facts.features]
    choice = choose_recipe(_candidates(client.jobs.recipes(), spec), base, columns, spec.recipe)
    needed = choice.recipe.columns
    # Now that it is known which columns every row must fill. Of COCO's form, what is marked was looked at.
    if local is not None and (_has_gaps(facts) or (OBJECTS in needed and facts.format != "coco")):
        check_local(local, needed)
    written = {name: read_value(choice.recipe, name, text) for name, text in (texts or {}).items()}
    parameters = check_parameters(choice.recipe, spec.parameters) | written
    budget = _checked_budget(spec.budget)
    if EPOCHS in parameters and (budget.steps or budget.epochs):
        raise InvalidArgument(
            "PARAMETER_INVALID",
            f"The recipe's `{EPOCHS}` counts only where the budget says neither steps nor epochs: say epochs once, as "
            "the budget's (--epochs).",
            metadata={"parameter": EPOCHS},
        )
    wanted = replace(
        spec,
        base=base.reference,
        dataset=dataset,
        output=output.model,
        recipe=choice.recipe.name,
        parameters=parameters,
    )
    return Plan(
        spec=wanted,
        foreseen=client.jobs.check(wanted).spec,
        is_new=_is_new(client, output.model),
        base=base,
        recipe=choice.recipe,
        why=choice.why,
        facts=facts,
        notes=notes,
        local=local,
        steps=expected_steps(choice.recipe, parameters, budget, facts),
        earlier=_earlier(client, choice.recipe.name, base.reference),
    )


def publish(client: "Client", plan: Plan, progress: Progress | None = None) -> JobSpec:
    """The spec with its dataset; local data are published as the dataset `OUTPUT-data`, once for the same content."""
    if plan.local is None:
        return plan.spec
    dataset = publish_local(client, plan.local, f"{plan.spec.output}-data", progress)
    return replace(plan.spec, dataset=dataset)


def expected_steps(
    recipe: Recipe, parameters: dict[str, ParameterValue], budget: Budget, facts: DatasetFacts
) -> int | None:
    """Optimizer steps at most; None where they are not known beforehand."""
    chosen = {parameter.name: parameter.default for parameter in recipe.parameters} | parameters
    limits = [budget.steps] if budget.steps else []
    rows = next((split.rows for split in facts.splits if split.name == TRAIN), None)
    # The recipe's own epochs hold where the budget says neither.
    epochs = budget.epochs or (None if budget.steps else chosen.get(EPOCHS))
    batch = chosen.get(BATCH_SIZE)
    if rows and isinstance(epochs, int | float) and isinstance(batch, int | float) and batch >= 1:
        limits.append(math.ceil(math.ceil(rows / batch) * epochs))
    return min(limits, default=None)


def _candidates(known: Sequence[Recipe], spec: JobSpec) -> Sequence[Recipe]:
    """What a recipe is chosen from: those that trainers of the job's resource class have, or all if it is named, or if
    these have none."""
    there = [recipe for recipe in known if (spec.resource_class or RESOURCE_CLASS) in recipe.resource_classes]
    return known if spec.recipe or not there else there


def _stored(client: "Client", reference: str) -> tuple[str, DatasetFacts]:
    version = client.version(reference)
    facts = version.facts.dataset
    if facts is None:
        raise FailedPrecondition(
            "KIND_MISMATCH",
            f"{version.reference} is no dataset: give a file, a folder, or a version that was pushed with --dataset.",
            metadata={"kind": "MODEL"},
        )
    train = next((split for split in facts.splits if split.name == TRAIN), None)
    check_facts(facts, train.labels if train else {})
    return version.reference, facts


def _checked(client: "Client", spec: JobSpec, base: Version, local: Path) -> Checked:
    """What `check_local` says. Where rows are faulty, those count, too, that lack what the recipe needs which it would
    be: they are all told at once."""
    try:
        return check_local(local)
    except InvalidArgument as error:
        if error.reason != "DATASET_INVALID":
            raise
        needed: Sequence[str] = ()
        with suppress(ZooError, OSError):
            recipes = _candidates(client.jobs.recipes(), spec)
            needed = choose_recipe(recipes, base, columns_of(local), spec.recipe).recipe.columns
        if needed:
            check_local(local, needed)
        raise


def _require_full(base: Version) -> None:
    if base.facts.format == ADAPTER:
        raise FailedPrecondition(
            "BASE_UNSUITABLE",
            f"{base.reference} is an adapter, and training starts from a full model: `zoo merge {base.reference} --to "
            "NAMESPACE/NAME` makes one of it and its base; start from that.",
            metadata={"reference": base.reference},
        )


def _is_new(client: "Client", model: str) -> bool:
    with suppress(NotFound):
        return client.model(model).latest_version is None
    return True


def _has_gaps(facts: DatasetFacts) -> bool:
    return any(feature.optional for feature in facts.features)


def _checked_budget(budget: Budget) -> Budget:
    for what, value in (("steps", budget.steps), ("epochs", budget.epochs), ("wall time", budget.wall_time_s or 0.0)):
        if not math.isfinite(value) or value < 0:
            raise InvalidArgument("FIELD_INVALID", f"The {what} of a budget are a number above 0, not {value:g}.")
    return budget


def _model(text: str) -> Reference:
    found = parse(text)
    if found.selector is not None:
        raise InvalidArgument(
            "REFERENCE_INVALID", f"The zoo gives versions their numbers: train into {found.model}, without '@'."
        )
    return found


def _earlier(client: "Client", recipe: str, base: str) -> Earlier | None:
    """Of the last such jobs that the caller may see the longest: in few steps the first, slow ones weigh more."""
    # It only serves a guess: what keeps it from being made keeps nobody from training.
    with suppress(ZooError):
        wanted = f'recipe = "{recipe}" AND base = "{base}" AND state = SUCCEEDED'
        jobs = [job for job in islice(client.jobs.list(filter=wanted), LOOKED_AT) if WALL_SECONDS in job.used]
        return _timed(max(jobs, key=lambda job: job.progress.step)) if jobs else None
    return None


def _timed(job: Job) -> Earlier | None:
    if job.start_time is None or job.end_time is None or not job.progress.step:
        return None
    in_steps = job.used[WALL_SECONDS]
    beside = max(0.0, (job.end_time - job.start_time).total_seconds() - in_steps)
    return Earlier(job.name, in_steps / job.progress.step, beside)
