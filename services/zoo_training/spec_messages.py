"""Specs, recipes and sweeps on the wire."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from google.protobuf.duration_pb2 import Duration
from google.protobuf.struct_pb2 import Struct, Value
from google.protobuf.timestamp_pb2 import Timestamp

from modelzoo.errors import InvalidArgument
from zoo.training.v1 import job_pb2, recipe_pb2, sweep_pb2
from zoo_training.job import Measured
from zoo_training.parameters import TEXT_CHARACTERS_MAX
from zoo_training.recipe import Parameter, ParameterKind, ParameterValue, Recipe
from zoo_training.spec import Budget, JobSpec, Promotion, PromotionRule
from zoo_training.trials import Choices, SweepMethod

__all__ = [
    "choices_from_pb",
    "choices_to_pb",
    "duration_from_pb",
    "duration_to_pb",
    "measured_from_pb",
    "measured_to_pb",
    "method_from_pb",
    "recipe_from_pb",
    "recipe_to_pb",
    "spec_from_pb",
    "spec_to_pb",
    "time_to_pb",
]


def spec_from_pb(spec: job_pb2.JobSpec) -> JobSpec:
    """Raises FIELD_INVALID for a time that is none, or a rule that nobody knows."""
    budget, promotion = spec.budget, spec.promotion
    return JobSpec(
        base=spec.base,
        dataset=spec.dataset,
        output=spec.output,
        recipe=spec.recipe,
        parameters={name: _value_from_pb(value) for name, value in spec.parameters.fields.items()},
        resource_class=spec.resource_class,
        budget=Budget(
            steps=budget.steps,
            epochs=budget.epochs,
            wall_time=duration_from_pb(budget.wall_time, "spec.budget.wall_time")
            if budget.HasField("wall_time")
            else None,
            patience=budget.patience,
        ),
        max_attempts=spec.max_attempts,
        deadline=_time_from_pb(spec.deadline, "deadline") if spec.HasField("deadline") else None,
        promotion=Promotion(promotion.alias, _rule_from_pb(promotion.rule), promotion.margin),
        seed=spec.seed,
        executor=spec.executor,
        processes=spec.processes or 1,
    )


def spec_to_pb(spec: JobSpec) -> job_pb2.JobSpec:
    budget = job_pb2.Budget(
        steps=spec.budget.steps,
        epochs=spec.budget.epochs,
        wall_time=duration_to_pb(spec.budget.wall_time),
        patience=spec.budget.patience,
    )
    promotion = job_pb2.Promotion(
        alias=spec.promotion.alias,
        rule=job_pb2.PromotionRule.Value(f"PROMOTION_RULE_{spec.promotion.rule.value}"),
        margin=spec.promotion.margin,
    )
    return job_pb2.JobSpec(
        base=spec.base,
        dataset=spec.dataset,
        output=spec.output,
        recipe=spec.recipe,
        parameters=_struct(spec.parameters),
        resource_class=spec.resource_class,
        budget=budget,
        max_attempts=spec.max_attempts,
        deadline=time_to_pb(spec.deadline),
        promotion=promotion if spec.promotion.alias else None,
        seed=spec.seed,
        executor=spec.executor,
        processes=spec.processes,
    )


def recipe_from_pb(recipe: recipe_pb2.Recipe) -> Recipe:
    """What a trainer describes. Raises FIELD_INVALID for a kind that nobody knows, or a default that is no value."""
    return Recipe(
        name=recipe.name,
        description=recipe.description,
        base_tasks=tuple(recipe.base_tasks),
        task=recipe.task,
        parameters=tuple(map(_parameter_from_pb, recipe.parameters)),
        columns=tuple(recipe.columns),
        metric=recipe.metric,
        lower_is_better=recipe.lower_is_better,
        single_process=recipe.single_process,
    )


def recipe_to_pb(recipe: Recipe) -> recipe_pb2.Recipe:
    return recipe_pb2.Recipe(
        name=recipe.name,
        description=recipe.description,
        base_tasks=recipe.base_tasks,
        task=recipe.task,
        parameters=map(_parameter_to_pb, recipe.parameters),
        columns=recipe.columns,
        metric=recipe.metric,
        lower_is_better=recipe.lower_is_better,
        update_time=time_to_pb(recipe.update_time),
        resource_classes=recipe.resource_classes,
        executors=recipe.executors,
        processes=recipe.processes,
        single_process=recipe.single_process,
    )


def measured_from_pb(measured: job_pb2.Measured) -> Measured:
    return Measured(
        metric=measured.metric,
        before=measured.before if measured.HasField("before") else None,
        after=measured.after,
        majority=measured.majority if measured.HasField("majority") else None,
        split=measured.split,
        items=measured.items,
    )


def measured_to_pb(measured: Measured) -> job_pb2.Measured:
    return job_pb2.Measured(
        metric=measured.metric,
        before=measured.before,
        after=measured.after,
        majority=measured.majority,
        split=measured.split,
        items=measured.items,
    )


def choices_from_pb(choices: sweep_pb2.Choices, name: str) -> Choices:
    """Raises FIELD_INVALID for values that no parameter has."""
    values = tuple(_value_from_pb(value) for value in choices.values)
    return Choices(
        tuple(_plain(value, f"choices.{name}") for value in values),
        choices.minimum,
        choices.maximum,
        choices.logarithmic,
    )


def choices_to_pb(choices: Choices) -> sweep_pb2.Choices:
    return sweep_pb2.Choices(
        values=[_value_to_pb(value) for value in choices.values],
        minimum=choices.minimum,
        maximum=choices.maximum,
        logarithmic=choices.logarithmic,
    )


def method_from_pb(method: "sweep_pb2.SweepMethod.ValueType") -> SweepMethod:
    """What is unspecified, or not known here, is a grid."""
    return SweepMethod.RANDOM if method == sweep_pb2.SWEEP_METHOD_RANDOM else SweepMethod.GRID


def time_to_pb(time: datetime | None) -> Timestamp | None:
    """None stays unset."""
    if time is None:
        return None
    timestamp = Timestamp()
    timestamp.FromDatetime(time)
    return timestamp


def duration_to_pb(duration: timedelta | None) -> Duration | None:
    """None stays unset."""
    if duration is None:
        return None
    made = Duration()
    made.FromTimedelta(duration)
    return made


def duration_from_pb(duration: Duration, field: str) -> timedelta:
    """Raises FIELD_INVALID, naming the field, for what is no duration."""
    try:
        return duration.ToTimedelta()
    except (ValueError, OverflowError) as error:
        raise _invalid(field, "is no duration") from error


def _parameter_from_pb(parameter: recipe_pb2.Parameter) -> Parameter:
    has_default = parameter.HasField("default_value")
    default = _value_from_pb(parameter.default_value) if has_default else None
    names = recipe_pb2.ParameterKind.DESCRIPTOR.values_by_number
    kind = names[parameter.kind].name.removeprefix("PARAMETER_KIND_") if parameter.kind in names else ""
    if kind not in ParameterKind.__members__:
        raise _invalid("recipes.parameters.kind", "is none that this release knows")
    return Parameter(
        name=parameter.name,
        kind=ParameterKind(kind),
        description=parameter.description,
        default=None if default is None else _plain(default, "recipes.parameters.default_value"),
        minimum=parameter.minimum if parameter.HasField("minimum") else None,
        maximum=parameter.maximum if parameter.HasField("maximum") else None,
        minimum_excluded=parameter.minimum_excluded,
        maximum_excluded=parameter.maximum_excluded,
        choices=tuple(parameter.choices),
    )


def _parameter_to_pb(parameter: Parameter) -> recipe_pb2.Parameter:
    return recipe_pb2.Parameter(
        name=parameter.name,
        kind=recipe_pb2.ParameterKind.Value(f"PARAMETER_KIND_{parameter.kind.value}"),
        description=parameter.description,
        default_value=None if parameter.default is None else _value_to_pb(parameter.default),
        minimum=parameter.minimum,
        maximum=parameter.maximum,
        minimum_excluded=parameter.minimum_excluded,
        maximum_excluded=parameter.maximum_excluded,
        choices=parameter.choices,
    )


def _rule_from_pb(rule: "job_pb2.PromotionRule.ValueType") -> PromotionRule:
    if rule == job_pb2.PROMOTION_RULE_ALWAYS:
        return PromotionRule.ALWAYS
    if rule in (job_pb2.PROMOTION_RULE_UNSPECIFIED, job_pb2.PROMOTION_RULE_IF_BETTER):
        return PromotionRule.IF_BETTER
    # Whoever asks for one of a later release must not get another.
    raise _invalid("spec.promotion.rule", "is none that this release knows")


def _time_from_pb(timestamp: Timestamp, field: str) -> datetime:
    try:
        return timestamp.ToDatetime(UTC)
    except (ValueError, OverflowError) as error:
        raise _invalid(f"spec.{field}", "is no time between the years 1 and 9999") from error


def _value_from_pb(value: Value) -> object:
    """What JSON would be to Python; numbers are floats, NaN too. Lists and objects, which no parameter is, stay so."""
    kind = value.WhichOneof("kind")
    if kind in (None, "null_value"):
        return None
    if kind == "list_value":
        return [_value_from_pb(item) for item in value.list_value.values]
    if kind == "struct_value":
        return {name: _value_from_pb(item) for name, item in value.struct_value.fields.items()}
    return getattr(value, kind)


def _value_to_pb(value: ParameterValue) -> Value:
    if isinstance(value, bool):
        return Value(bool_value=value)
    if isinstance(value, str):
        return Value(string_value=value)
    return Value(number_value=value)


def _struct(values: Mapping[str, Any]) -> Struct:
    return Struct(fields={name: _value_to_pb(value) for name, value in values.items()})


def _plain(value: object, field: str) -> ParameterValue:
    """Whole numbers as int: a Struct knows floats alone."""
    if isinstance(value, bool) or (isinstance(value, str) and len(value) <= TEXT_CHARACTERS_MAX):
        return value
    if isinstance(value, float):
        return int(value) if value.is_integer() else value
    raise _invalid(field, "has a value that is neither true or false, nor a number, nor a text")


def _invalid(field: str, problem: str) -> InvalidArgument:
    return InvalidArgument("FIELD_INVALID", f"{field} {problem}", field=field, metadata={"field": field})
