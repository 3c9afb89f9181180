"""Whether a job's budget, its deadline and its promotion make sense together with its parameters. Pure functions."""

import math
from collections.abc import Mapping
from datetime import datetime, timedelta

from modelzoo.errors import InvalidArgument
from zoo_training.catalog import Dataset
from zoo_training.parameters import WHOLE_MAX
from zoo_training.recipe import ParameterValue, Recipe
from zoo_training.spec import Budget, Promotion, PromotionRule

__all__ = ["check_budget", "check_deadline", "check_promotion", "expected_steps"]

TRAIN = "train"
LATEST = "latest"
WALL_TIME_MAX = timedelta(days=365)
# Parameters whose names mean the same in every recipe that has them.
EPOCHS, BATCH = "epochs", "batch_size"
# Of the whole training, and in steps.
WARMUP_SHARE, WARMUP_STEPS = "warmup", "warmup_steps"


def check_budget(budget: Budget, parameters: Mapping[str, ParameterValue], facts: Dataset) -> None:
    """Raise FIELD_INVALID or PARAMETER_INVALID where the job would end before it has learned anything."""
    if budget.wall_time is not None and not timedelta(0) < budget.wall_time <= WALL_TIME_MAX:
        raise _field("budget.wall_time", f"must be more than 0 and at most {WALL_TIME_MAX.days} days")
    share, warmup = parameters.get(WARMUP_SHARE), parameters.get(WARMUP_STEPS)
    if isinstance(share, int | float) and share >= 1:
        raise _warmup(WARMUP_SHARE, f"{share:g} of the training", "a share below 1")
    steps = expected_steps(budget, parameters, facts)
    if steps is not None and isinstance(warmup, int) and warmup >= steps:
        raise _warmup(WARMUP_STEPS, f"{warmup:,} of {steps:,} steps", "a shorter one, or more steps")


def expected_steps(budget: Budget, parameters: Mapping[str, ParameterValue], facts: Dataset) -> int | None:
    """Optimizer steps that the job takes at most, None where that is not known beforehand."""
    limits = [budget.steps] if budget.steps else []
    rows = next((split.rows for split in facts.splits if split.name == TRAIN), None)
    epochs, batch = budget.epochs or parameters.get(EPOCHS), parameters.get(BATCH)
    if rows and isinstance(epochs, int | float) and isinstance(batch, int):
        an_epoch = math.ceil(rows / max(1, batch))
        # As far as counting goes; what takes longer is never done anyway.
        limits.append(math.ceil(min(an_epoch * epochs, WHOLE_MAX)))
    return min(limits, default=None)


def check_deadline(deadline: datetime | None, now: datetime) -> None:
    """Raise FIELD_INVALID for one that has passed."""
    if deadline is not None and deadline <= now:
        raise _field("deadline", f"was at {deadline:%Y-%m-%d %H:%M:%S} UTC, which has passed: choose a later one")


def check_promotion(promotion: Promotion, recipe: Recipe) -> None:
    """Raise ALIAS_INVALID or FIELD_INVALID for one that could never be done."""
    if not promotion.alias:
        if promotion.margin or promotion.rule is PromotionRule.ALWAYS:
            raise _field("promotion.alias", "is empty, and a rule is given: say which alias is to move")
        return
    if promotion.alias == LATEST:
        raise InvalidArgument(
            "ALIAS_INVALID",
            f"'{LATEST}' is no alias but the highest version that is READY, which the result is anyway: choose a name",
            field="spec.promotion.alias",
        )
    if promotion.rule is PromotionRule.ALWAYS and promotion.margin:
        raise _field("promotion.margin", "is of the rule IF_BETTER, and the rule is ALWAYS: leave one of them out")
    if promotion.rule is PromotionRule.IF_BETTER and not recipe.metric:
        raise _field("promotion.rule", f"is IF_BETTER, and the recipe '{recipe.name}' measures nothing: choose ALWAYS")


def _warmup(parameter: str, length: str, advice: str) -> InvalidArgument:
    return InvalidArgument(
        "PARAMETER_INVALID",
        f"the warmup is {length}, and the learning rate would never reach its value: choose {advice}",
        field=f"parameters.{parameter}",
        metadata={"parameter": parameter},
    )


def _field(name: str, problem: str) -> InvalidArgument:
    field = f"spec.{name}"
    return InvalidArgument("FIELD_INVALID", f"{field} {problem}", field=field, metadata={"field": field})
