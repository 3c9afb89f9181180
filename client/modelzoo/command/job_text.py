"""Jobs and what happens to them, in words."""

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from modelzoo.command.terminal import size_text

if TYPE_CHECKING:
    from modelzoo.training_records import Job, JobEvent, JobProgress, Measured, StateChange

__all__ = ["duration_text", "event_line", "job_seconds", "measured_rows", "number_text", "progress_text", "spec_rows"]

MINUTE_S, HOUR_S, DAY_S = 60, 3600, 86400


def duration_text(seconds: float | None) -> str:
    """`8 s`, `1 min 20 s`, `2 h 05 min`, `3 d 4 h`, or `-`."""
    if seconds is None:
        return "-"
    whole = max(0, round(seconds))
    if whole < MINUTE_S:
        return f"{whole} s"
    if whole < HOUR_S:
        return f"{whole // MINUTE_S} min {whole % MINUTE_S:02} s"
    if whole < DAY_S:
        return f"{whole // HOUR_S} h {whole % HOUR_S // MINUTE_S:02} min"
    return f"{whole // DAY_S} d {whole % DAY_S // HOUR_S} h"


def number_text(value: float | None) -> str:
    """Four digits, or `-`."""
    return "-" if value is None else f"{value:.4g}"


def event_line(event: "JobEvent") -> str:
    """The event in one line; a log of several lines stays several."""
    time = "--:--:--" if event.time is None else f"{event.time.astimezone():%H:%M:%S}"
    return f"{time}  {_event(event)}"


def progress_text(progress: "JobProgress") -> str:
    """`step 10 of 375  loss 0.71  320 examples/s  1 min 20 s left`, without what is not known."""
    of = f" of {progress.steps:,}" if progress.steps else ""
    parts = [f"step {progress.step:,}{of}"]
    if progress.loss is not None:
        parts.append(f"loss {number_text(progress.loss)}")
    if progress.examples_per_second:
        parts.append(f"{number_text(progress.examples_per_second)} examples/s")
    if progress.remaining_s is not None:
        parts.append(f"{duration_text(progress.remaining_s)} left")
    return "  ".join(parts)


def measured_rows(measured: "Iterable[Measured]") -> list[tuple[str, ...]]:
    """Metric, before, after, majority, split and items of each."""
    return [
        (
            each.metric,
            number_text(each.before),
            number_text(each.after),
            number_text(each.majority),
            each.split or "-",
            str(each.items),
        )
        for each in measured
    ]


def job_seconds(job: "Job") -> float | None:
    """From its start to its end; None while it has not both."""
    if job.start_time is None or job.end_time is None:
        return None
    return (job.end_time - job.start_time).total_seconds()


def spec_rows(job: "Job") -> list[tuple[str, str]]:
    """What it was told to do, by name; parameters after the rest."""
    spec, budget = job.spec, job.spec.budget
    rows = [
        ("recipe", spec.recipe),
        ("base", spec.base),
        ("dataset", spec.dataset),
        ("output", spec.output),
        ("resource class", spec.resource_class),
        ("executor", spec.executor),
        ("processes", str(spec.processes) if spec.processes > 1 else ""),
        ("seed", str(spec.seed) if spec.seed else ""),
        ("steps at most", f"{budget.steps:,}" if budget.steps else ""),
        ("epochs at most", f"{budget.epochs:g}" if budget.epochs else ""),
        ("time at most", duration_text(budget.wall_time_s) if budget.wall_time_s else ""),
        ("patience", f"{budget.patience} evaluations" if budget.patience else ""),
        ("promotes", f"{spec.promotion.alias}, {_rule(spec.promotion.rule)}" if spec.promotion.alias else ""),
    ]
    # Where the budget says how far it goes, the recipe's own epochs do not count.
    idle = {"epochs"} if budget.steps or budget.epochs else frozenset[str]()
    parameters = [(name, _value(value)) for name, value in sorted(spec.parameters.items()) if name not in idle]
    return [(name, value) for name, value in rows if value] + parameters


def _event(event: "JobEvent") -> str:
    if event.state is not None:
        return _state(event.state, event.epoch)
    if event.log is not None:
        return event.log.text if event.log.severity == "INFO" else f"{event.log.severity.lower()}: {event.log.text}"
    if event.checkpoint is not None:
        sent, size = size_text(event.checkpoint.sent_bytes), size_text(event.checkpoint.size_bytes)
        return f"checkpoint at step {event.checkpoint.step:,}: {sent} of {size} sent"
    if event.metrics is not None:
        return "  ".join([progress_text(event.metrics.progress), *_values(event.metrics.values)])
    return "something that this version of the command does not know"


def _state(change: "StateChange", epoch: int) -> str:
    attempt = f"  attempt {epoch}" if epoch and change.state == "RUNNING" else ""
    is_there = change.state in (f"{change.wanted}D", f"{change.wanted}LED")  # PAUSED, CANCELLED
    wanted = f"  (to {change.wanted.lower()})" if change.wanted in ("PAUSE", "CANCEL") and not is_there else ""
    by = f"  by {change.actor}" if change.actor else ""
    why = f"  {change.reason}: {change.message}" if change.reason else f"  {change.message}" if change.message else ""
    return f"{change.state}{wanted}{attempt}{by}{why}"


def _values(values: Mapping[str, float]) -> list[str]:
    # Seconds of a step are examples per second again, which stand before.
    shown = ((name, value) for name, value in sorted(values.items()) if name != "seconds_per_step")
    return [
        f"{name.removesuffix('_bytes')} {size_text(round(value)) if name.endswith('_bytes') else number_text(value)}"
        for name, value in shown
    ]


def _rule(rule: str) -> str:
    return "if it is better" if rule == "IF_BETTER" else "in any case"


def _value(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else f"{value:g}" if isinstance(value, float) else str(value)
