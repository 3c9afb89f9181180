"""Records of training from protobuf messages and back, as `wire` has the others."""

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from google.protobuf.duration_pb2 import Duration
from google.protobuf.json_format import MessageToDict
from google.protobuf.struct_pb2 import Value

from modelzoo import training_records as records
from modelzoo.wire import time, to_timestamp
from zoo.training.v1 import event_pb2, job_pb2, recipe_pb2, sweep_pb2

__all__ = ["event", "job", "recipe", "spec_to_pb", "sweep", "sweep_to_pb"]


def job(pb: job_pb2.Job) -> records.Job:
    return records.Job(
        name=pb.name,
        spec=_spec(pb.spec),
        state=job_pb2.JobState.Name(pb.state).removeprefix("JOB_STATE_"),
        wanted=_wanted(pb.wanted),
        reason=pb.reason,
        message=pb.message,
        attempts=pb.attempts,
        progress=_progress(pb.progress),
        result=pb.result,
        checkpoint=_checkpoint(pb.checkpoint) if pb.HasField("checkpoint") else None,
        priority=pb.priority,
        labels=dict(pb.labels),
        creator=pb.creator,
        create_time=time(pb.create_time),
        start_time=time(pb.start_time),
        end_time=time(pb.end_time),
        run_after_time=time(pb.run_after_time),
        retry_of=pb.retry_of,
        sweep=pb.sweep,
        last_sequence=pb.last_sequence,
        etag=pb.etag,
        measured=tuple(map(_measured, pb.measured)),
        host=pb.host,
        used=dict(pb.used),
    )


def event(pb: event_pb2.Event) -> records.JobEvent:
    """Of a kind that is not known here it has nothing but its place."""
    kind = pb.WhichOneof("kind")
    return records.JobEvent(
        sequence=pb.sequence,
        time=time(pb.time),
        epoch=pb.epoch,
        state=_state_change(pb.state) if kind == "state" else None,
        log=_log(pb.log) if kind == "log" else None,
        metrics=records.MetricValues(_progress(pb.metrics.progress), dict(pb.metrics.values))
        if kind == "metrics"
        else None,
        checkpoint=_checkpoint(pb.checkpoint) if kind == "checkpoint" else None,
    )


def recipe(pb: recipe_pb2.Recipe) -> records.Recipe:
    return records.Recipe(
        name=pb.name,
        description=pb.description,
        base_tasks=tuple(pb.base_tasks),
        task=pb.task,
        parameters=tuple(map(_parameter, pb.parameters)),
        columns=tuple(pb.columns),
        metric=pb.metric,
        lower_is_better=pb.lower_is_better,
        update_time=time(pb.update_time),
        resource_classes=tuple(pb.resource_classes),
        executors=tuple(pb.executors),
        processes=pb.processes,
        single_process=pb.single_process,
    )


def sweep(pb: sweep_pb2.Sweep) -> records.Sweep:
    return records.Sweep(
        name=pb.name,
        spec=_spec(pb.spec),
        choices={name: _choices(each) for name, each in pb.choices.items()},
        method=sweep_pb2.SweepMethod.Name(pb.method).removeprefix("SWEEP_METHOD_"),
        trials=pb.trials,
        jobs=tuple(pb.jobs),
        best=pb.best,
        finished=pb.finished,
        creator=pb.creator,
        create_time=time(pb.create_time),
        end_time=time(pb.end_time),
        message=pb.message,
    )


def spec_to_pb(spec: records.JobSpec) -> job_pb2.JobSpec:
    """Raises what protobuf raises for values that it cannot hold."""
    budget = job_pb2.Budget(steps=spec.budget.steps, epochs=spec.budget.epochs, patience=spec.budget.patience)
    if spec.budget.wall_time_s is not None:
        budget.wall_time.FromTimedelta(timedelta(seconds=spec.budget.wall_time_s))
    pb = job_pb2.JobSpec(
        base=spec.base,
        dataset=spec.dataset,
        output=spec.output,
        recipe=spec.recipe,
        resource_class=spec.resource_class,
        budget=budget,
        max_attempts=spec.max_attempts,
        seed=spec.seed,
        executor=spec.executor,
        processes=spec.processes,
    )
    pb.parameters.update(dict(spec.parameters))
    if deadline := to_timestamp(spec.deadline):
        pb.deadline.CopyFrom(deadline)
    if spec.promotion.alias:
        pb.promotion.alias = spec.promotion.alias
        pb.promotion.rule = job_pb2.PromotionRule.Value(f"PROMOTION_RULE_{spec.promotion.rule}")
        pb.promotion.margin = spec.promotion.margin
    return pb


def sweep_to_pb(
    spec: records.JobSpec, choices: Mapping[str, records.Choices], method: str, trials: int
) -> sweep_pb2.Sweep:
    """Raises what protobuf raises for values that it cannot hold."""
    return sweep_pb2.Sweep(
        spec=spec_to_pb(spec),
        choices={name: _choices_to_pb(each) for name, each in choices.items()},
        method=sweep_pb2.SweepMethod.Value(f"SWEEP_METHOD_{method}"),
        trials=trials,
    )


def _spec(pb: job_pb2.JobSpec) -> records.JobSpec:
    budget = records.Budget(
        steps=pb.budget.steps,
        epochs=pb.budget.epochs,
        wall_time_s=_seconds(pb.budget.wall_time) if pb.budget.HasField("wall_time") else None,
        patience=pb.budget.patience,
    )
    rule = job_pb2.PromotionRule.Name(pb.promotion.rule).removeprefix("PROMOTION_RULE_")
    promotion = records.Promotion(
        pb.promotion.alias, "IF_BETTER" if rule == "UNSPECIFIED" else rule, pb.promotion.margin
    )
    return records.JobSpec(
        base=pb.base,
        dataset=pb.dataset,
        output=pb.output,
        recipe=pb.recipe,
        parameters={name: _plain(value) for name, value in MessageToDict(pb.parameters).items()},
        resource_class=pb.resource_class,
        budget=budget,
        max_attempts=pb.max_attempts,
        deadline=time(pb.deadline) if pb.HasField("deadline") else None,
        promotion=promotion,
        seed=pb.seed,
        executor=pb.executor,
        processes=pb.processes,
    )


def _progress(pb: job_pb2.Progress) -> records.JobProgress:
    return records.JobProgress(
        step=pb.step,
        steps=pb.steps,
        epoch=pb.epoch,
        loss=pb.loss if pb.HasField("loss") else None,
        examples_per_second=pb.examples_per_second,
        remaining_s=_seconds(pb.remaining) if pb.HasField("remaining") else None,
    )


def _checkpoint(pb: job_pb2.Checkpoint) -> records.JobCheckpoint:
    return records.JobCheckpoint(pb.step, pb.manifest_digest, pb.size_bytes, pb.sent_bytes)


def _measured(pb: job_pb2.Measured) -> records.Measured:
    return records.Measured(
        metric=pb.metric,
        before=pb.before if pb.HasField("before") else None,
        after=pb.after,
        majority=pb.majority if pb.HasField("majority") else None,
        split=pb.split,
        items=pb.items,
    )


def _state_change(pb: event_pb2.StateChange) -> records.StateChange:
    state = job_pb2.JobState.Name(pb.state).removeprefix("JOB_STATE_")
    return records.StateChange(state, _wanted(pb.wanted), pb.reason, pb.message, pb.actor)


def _wanted(pb: job_pb2.Wanted.ValueType) -> str:
    return job_pb2.Wanted.Name(pb).removeprefix("WANTED_")


def _log(pb: event_pb2.Log) -> records.LogLine:
    severity = event_pb2.Severity.Name(pb.severity).removeprefix("SEVERITY_")
    return records.LogLine("INFO" if severity == "UNSPECIFIED" else severity, pb.text)


def _parameter(pb: recipe_pb2.Parameter) -> records.Parameter:
    default = _plain(MessageToDict(pb.default_value)) if pb.HasField("default_value") else None
    return records.Parameter(
        name=pb.name,
        kind=recipe_pb2.ParameterKind.Name(pb.kind).removeprefix("PARAMETER_KIND_"),
        description=pb.description,
        # A number of JSON is of one kind; here it is what the parameter's is.
        default=float(default) if pb.kind == recipe_pb2.PARAMETER_KIND_NUMBER and default is not None else default,
        minimum=pb.minimum if pb.HasField("minimum") else None,
        maximum=pb.maximum if pb.HasField("maximum") else None,
        minimum_excluded=pb.minimum_excluded,
        maximum_excluded=pb.maximum_excluded,
        choices=tuple(pb.choices),
    )


def _choices(pb: sweep_pb2.Choices) -> records.Choices:
    values = tuple(_plain(MessageToDict(value)) for value in pb.values)
    return records.Choices(values, pb.minimum, pb.maximum, pb.logarithmic)


def _choices_to_pb(choices: records.Choices) -> sweep_pb2.Choices:
    return sweep_pb2.Choices(
        values=map(_value, choices.values),
        minimum=choices.minimum,
        maximum=choices.maximum,
        logarithmic=choices.logarithmic,
    )


def _value(value: records.ParameterValue) -> Value:
    if isinstance(value, bool):
        return Value(bool_value=value)
    return Value(string_value=value) if isinstance(value, str) else Value(number_value=value)


def _plain(value: Any) -> records.ParameterValue:
    """Whole numbers as int: JSON knows one kind of number."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _seconds(pb: Duration) -> float:
    return pb.ToTimedelta().total_seconds()
