"""Jobs, their events and what trainers say of them, on the wire."""

from collections.abc import Iterable

from zoo.training.v1 import event_pb2, job_pb2, trainer_service_pb2
from zoo_training.events import Event, Log, Metrics, Report, Severity, StateChange
from zoo_training.job import Checkpoint, Job, Made, Progress, Wanted
from zoo_training.spec_messages import (
    duration_from_pb,
    duration_to_pb,
    measured_from_pb,
    measured_to_pb,
    spec_to_pb,
    time_to_pb,
)

__all__ = ["checkpoint_from_pb", "event_to_pb", "job_to_pb", "made_from_pb", "reports_from_pb", "wanted_to_pb"]


def job_to_pb(job: Job) -> job_pb2.Job:
    return job_pb2.Job(
        name=job.name,
        spec=spec_to_pb(job.spec),
        state=job_pb2.JobState.Value(f"JOB_STATE_{job.state.value}"),
        wanted=wanted_to_pb(job.wanted),
        reason=job.reason,
        message=job.message,
        attempts=job.attempts,
        progress=None if job.progress is None else _progress_to_pb(job.progress),
        result=job.result,
        checkpoint=None if job.checkpoint is None else _checkpoint_to_pb(job.checkpoint),
        priority=job.priority,
        labels=job.labels,
        creator=job.creator,
        create_time=time_to_pb(job.create_time),
        start_time=time_to_pb(job.start_time),
        end_time=time_to_pb(job.end_time),
        run_after_time=time_to_pb(job.run_after),
        retry_of=job.retry_of,
        sweep=job.sweep,
        last_sequence=job.last_sequence,
        etag=job.etag,
        # Not before the version is there: until then it is what a trainer said.
        measured=map(measured_to_pb, job.made.measured) if job.made is not None and job.result else (),
        host=job.host,
        used=job.made.used if job.made is not None and job.result else {},
    )


def event_to_pb(event: Event) -> event_pb2.Event:
    message = event_pb2.Event(sequence=event.sequence, time=time_to_pb(event.time), epoch=event.epoch)
    body = event.body
    match body:
        case StateChange():
            change = event_pb2.StateChange(
                state=job_pb2.JobState.Value(f"JOB_STATE_{body.state.value}"),
                wanted=wanted_to_pb(body.wanted),
                reason=body.reason,
                message=body.message,
                actor=body.actor,
            )
            message.state.CopyFrom(change)
        case Log():
            severity = event_pb2.Severity.Value(f"SEVERITY_{body.severity.value}")
            message.log.CopyFrom(event_pb2.Log(severity=severity, text=body.text))
        case Metrics():
            progress = None if body.progress is None else _progress_to_pb(body.progress)
            message.metrics.CopyFrom(event_pb2.Metrics(progress=progress, values=body.values))
        case Checkpoint():
            message.checkpoint.CopyFrom(_checkpoint_to_pb(body))
    return message


def wanted_to_pb(wanted: Wanted) -> "job_pb2.Wanted.ValueType":
    return job_pb2.Wanted.Value(f"WANTED_{wanted.value}")


def reports_from_pb(events: Iterable[event_pb2.Event]) -> list[Report]:
    """What a trainer may say: logs, metrics and checkpoints. Anything else, of a later release perhaps, is a log that
    says so: left out, it would shift the numbers of those behind."""
    return [_report_from_pb(event) for event in events]


def made_from_pb(result: trainer_service_pb2.Result) -> Made:
    return Made(
        manifest_digest=result.manifest_digest,
        measured=tuple(map(measured_from_pb, result.measured)),
        adapter=result.adapter,
        used=dict(result.used),
    )


def checkpoint_from_pb(checkpoint: job_pb2.Checkpoint) -> Checkpoint:
    return Checkpoint(checkpoint.step, checkpoint.manifest_digest, checkpoint.size_bytes, checkpoint.sent_bytes)


def _report_from_pb(event: event_pb2.Event) -> Report:
    match event.WhichOneof("kind"):
        case "log":
            names = event_pb2.Severity.DESCRIPTOR.values_by_number
            name = names[event.log.severity].name if event.log.severity in names else ""
            known = name.removeprefix("SEVERITY_")
            return Log(Severity(known) if known in Severity.__members__ else Severity.INFO, event.log.text)
        case "metrics":
            metrics = event.metrics
            progress = _progress_from_pb(metrics.progress) if metrics.HasField("progress") else None
            return Metrics(progress, dict(metrics.values))
        case "checkpoint":
            return checkpoint_from_pb(event.checkpoint)
        case kind:
            return Log(Severity.WARNING, f"the trainer sent an event of a kind that is not taken from it: {kind}")


def _progress_to_pb(progress: Progress) -> job_pb2.Progress:
    return job_pb2.Progress(
        step=progress.step,
        steps=progress.steps,
        epoch=progress.epoch,
        loss=progress.loss,
        examples_per_second=progress.examples_per_second,
        remaining=duration_to_pb(progress.remaining),
    )


def _progress_from_pb(progress: job_pb2.Progress) -> Progress:
    return Progress(
        step=progress.step,
        steps=progress.steps,
        epoch=progress.epoch,
        loss=progress.loss if progress.HasField("loss") else None,
        examples_per_second=progress.examples_per_second,
        remaining=duration_from_pb(progress.remaining, "progress.remaining")
        if progress.HasField("remaining")
        else None,
    )


def _checkpoint_to_pb(checkpoint: Checkpoint) -> job_pb2.Checkpoint:
    return job_pb2.Checkpoint(
        step=checkpoint.step,
        manifest_digest=checkpoint.manifest_digest,
        size_bytes=checkpoint.size_bytes,
        sent_bytes=checkpoint.sent_bytes,
    )
