"""zoo.training.v1.TrainingService."""

from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any

import grpc
from google.protobuf.field_mask_pb2 import FieldMask

from modelzoo.errors import InvalidArgument
from zoo.training.v1 import job_pb2, sweep_pb2
from zoo.training.v1 import training_service_pb2 as pb
from zoo.training.v1 import training_service_pb2_grpc as rpc
from zoo_server.call import current_principal
from zoo_server.paging import PageRequest
from zoo_training.creation import Asked, Creation
from zoo_training.job_messages import event_to_pb, job_to_pb
from zoo_training.jobs import JobEdit, Jobs
from zoo_training.listing import Listing
from zoo_training.planning import Plan
from zoo_training.recipes import Recipes
from zoo_training.spec import JobSpec
from zoo_training.spec_messages import (
    choices_from_pb,
    choices_to_pb,
    method_from_pb,
    recipe_to_pb,
    spec_from_pb,
    spec_to_pb,
    time_to_pb,
)
from zoo_training.sweeps import NewSweep, Sweep, Sweeps
from zoo_training.trials import Choices, SweepMethod
from zoo_training.watch import Watch

__all__ = ["TrainingParts", "TrainingServicer"]

Context = grpc.aio.ServicerContext[Any, Any]
EDITABLE = ("priority", "labels")


@dataclass(frozen=True, slots=True)
class TrainingParts:
    """What serves the calls."""

    creation: Creation
    jobs: Jobs
    listing: Listing
    watch: Watch
    recipes: Recipes
    sweeps: Sweeps


class TrainingServicer(rpc.TrainingServiceServicer):
    def __init__(self, parts: TrainingParts) -> None:
        self._parts = parts

    async def CreateJob(self, request: pb.CreateJobRequest, context: Context) -> pb.CreateJobResponse:
        asked, principal = asked_from_pb(request.job), current_principal()
        if request.validate_only:
            plan = await self._parts.creation.foresee(asked, principal)
            return pb.CreateJobResponse(job=planned_to_pb(plan, asked, principal.subject))
        job = await self._parts.creation.create(asked, principal, request.request_id)
        return pb.CreateJobResponse(job=job_to_pb(job))

    async def GetJob(self, request: pb.GetJobRequest, context: Context) -> pb.GetJobResponse:
        return pb.GetJobResponse(job=job_to_pb(await self._parts.jobs.get(request.name, current_principal())))

    async def ListJobs(self, request: pb.ListJobsRequest, context: Context) -> pb.ListJobsResponse:
        page = PageRequest(request.page_size, request.page_token)
        found = await self._parts.listing.list(current_principal(), request.namespace, request.filter, page)
        return pb.ListJobsResponse(jobs=map(job_to_pb, found.items), next_page_token=found.next_token)

    async def UpdateJob(self, request: pb.UpdateJobRequest, context: Context) -> pb.UpdateJobResponse:
        edit = edit_from_pb(request.job, request.update_mask)
        job = await self._parts.jobs.update(request.job.name, edit, request.job.etag, current_principal())
        return pb.UpdateJobResponse(job=job_to_pb(job))

    async def CancelJob(self, request: pb.CancelJobRequest, context: Context) -> pb.CancelJobResponse:
        return pb.CancelJobResponse(job=job_to_pb(await self._parts.jobs.cancel(request.name, current_principal())))

    async def PauseJob(self, request: pb.PauseJobRequest, context: Context) -> pb.PauseJobResponse:
        return pb.PauseJobResponse(job=job_to_pb(await self._parts.jobs.pause(request.name, current_principal())))

    async def ResumeJob(self, request: pb.ResumeJobRequest, context: Context) -> pb.ResumeJobResponse:
        return pb.ResumeJobResponse(job=job_to_pb(await self._parts.jobs.resume(request.name, current_principal())))

    async def WatchJob(self, request: pb.WatchJobRequest, context: Context) -> AsyncGenerator[pb.WatchJobResponse]:
        watched = self._parts.watch.watch(
            request.name, current_principal(), request.after_sequence, follow=request.follow
        )
        async with aclosing(watched) as events:
            async for event in events:
                yield pb.WatchJobResponse(event=event_to_pb(event))

    async def ListRecipes(self, request: pb.ListRecipesRequest, context: Context) -> pb.ListRecipesResponse:
        return pb.ListRecipesResponse(recipes=map(recipe_to_pb, await self._parts.recipes.list(request.base_task)))

    async def CreateSweep(self, request: pb.CreateSweepRequest, context: Context) -> pb.CreateSweepResponse:
        new, principal = new_sweep_from_pb(request.sweep), current_principal()
        if request.validate_only:
            shared = await self._parts.sweeps.foresee(new, principal)
            return pb.CreateSweepResponse(sweep=planned_sweep_to_pb(shared, new, principal.subject))
        sweep = await self._parts.sweeps.create(new, principal, request.request_id)
        return pb.CreateSweepResponse(sweep=sweep_to_pb(sweep))

    async def GetSweep(self, request: pb.GetSweepRequest, context: Context) -> pb.GetSweepResponse:
        return pb.GetSweepResponse(sweep=sweep_to_pb(await self._parts.sweeps.get(request.name, current_principal())))


def asked_from_pb(job: job_pb2.Job) -> Asked:
    return Asked(spec_from_pb(job.spec), job.priority, dict(job.labels), job.retry_of)


def planned_to_pb(plan: Plan, asked: Asked, creator: str) -> job_pb2.Job:
    """A job that is not made: it has no name."""
    return job_pb2.Job(
        spec=spec_to_pb(plan.spec),
        priority=asked.priority,
        labels=asked.labels,
        retry_of=asked.retry_of,
        creator=creator,
    )


def edit_from_pb(job: job_pb2.Job, mask: FieldMask) -> JobEdit:
    """Raises FIELD_INVALID for a path of what cannot be changed."""
    wrong = [path for path in mask.paths if path not in EDITABLE]
    if wrong:
        raise InvalidArgument(
            "FIELD_INVALID",
            f"update_mask has {wrong[0][:80]!a}; what can be changed is {' and '.join(EDITABLE)}",
            field="update_mask",
            metadata={"field": "update_mask"},
        )
    paths = mask.paths or [path for path in EDITABLE if getattr(job, path)]
    return JobEdit(
        priority=job.priority if "priority" in paths else None,
        labels=dict(job.labels) if "labels" in paths else None,
    )


def new_sweep_from_pb(sweep: sweep_pb2.Sweep) -> NewSweep:
    return NewSweep(
        spec=spec_from_pb(sweep.spec),
        choices={name: choices_from_pb(choices, name) for name, choices in sweep.choices.items()},
        method=method_from_pb(sweep.method),
        trials=sweep.trials,
    )


def planned_sweep_to_pb(shared: JobSpec, new: NewSweep, creator: str) -> sweep_pb2.Sweep:
    """A sweep that is not made: it has no name and no jobs."""
    return sweep_pb2.Sweep(
        spec=spec_to_pb(shared),
        choices=_choices_to_pb(new.choices),
        method=_method_to_pb(new.method),
        trials=new.trials,
        creator=creator,
    )


def sweep_to_pb(sweep: Sweep) -> sweep_pb2.Sweep:
    return sweep_pb2.Sweep(
        name=sweep.name,
        spec=spec_to_pb(sweep.spec),
        choices=_choices_to_pb(sweep.choices),
        method=_method_to_pb(sweep.method),
        trials=sweep.trials,
        jobs=sweep.jobs,
        best=sweep.best,
        finished=sweep.finished,
        creator=sweep.creator,
        create_time=time_to_pb(sweep.create_time),
        end_time=time_to_pb(sweep.end_time),
        message=sweep.message,
    )


def _choices_to_pb(choices: Mapping[str, Choices]) -> dict[str, sweep_pb2.Choices]:
    return {name: choices_to_pb(each) for name, each in choices.items()}


def _method_to_pb(method: SweepMethod) -> sweep_pb2.SweepMethod.ValueType:
    return sweep_pb2.SweepMethod.Value(f"SWEEP_METHOD_{method.value}")
