"""zoo.training.v1.TrainerService."""

from collections.abc import Iterable
from typing import Any

import grpc

from zoo.training.v1 import event_pb2
from zoo.training.v1 import trainer_service_pb2 as pb
from zoo.training.v1 import trainer_service_pb2_grpc as rpc
from zoo_server.principal import Signer
from zoo_training.checkpoints import Checkpoints
from zoo_training.job import Checkpoint, Job
from zoo_training.job_messages import job_to_pb, made_from_pb, reports_from_pb, wanted_to_pb
from zoo_training.job_principal import job_principal
from zoo_training.leases import Leases, Release, Reports
from zoo_training.outcomes import Outcome
from zoo_training.recipes import Recipes, Trainer
from zoo_training.spec import Source
from zoo_training.spec_messages import duration_from_pb, duration_to_pb, recipe_from_pb

__all__ = ["TrainerServicer"]

Context = grpc.aio.ServicerContext[Any, Any]


class TrainerServicer(rpc.TrainerServiceServicer):
    """`signer` signs the jobs' principals."""

    def __init__(self, recipes: Recipes, leases: Leases, checkpoints: Checkpoints, signer: Signer) -> None:
        self._recipes = recipes
        self._leases = leases
        self._checkpoints = checkpoints
        self._signer = signer

    async def RegisterTrainer(self, request: pb.RegisterTrainerRequest, context: Context) -> pb.RegisterTrainerResponse:
        await self._recipes.register(trainer_from_pb(request), [recipe_from_pb(recipe) for recipe in request.recipes])
        return pb.RegisterTrainerResponse()

    async def LeaseJob(self, request: pb.LeaseJobRequest, context: Context) -> pb.LeaseJobResponse:
        trainer = await self._recipes.trainer(request.trainer)
        lease = await self._leases.lease(trainer, duration_from_pb(request.wait, "wait").total_seconds())
        if lease is None:
            return pb.LeaseJobResponse()
        job = lease.job
        return pb.LeaseJobResponse(
            lease=pb.Lease(
                job=job_to_pb(job),
                epoch=lease.epoch,
                duration=duration_to_pb(lease.duration),
                principal=self._principal(job),
                next_event=lease.next_event,
                base=source_to_pb(job.base),
                dataset=source_to_pb(job.dataset),
            )
        )

    async def RenewJob(self, request: pb.RenewJobRequest, context: Context) -> pb.RenewJobResponse:
        reports = reports_of(request.events, request.first_event)
        renewal = await self._leases.renew(request.job, request.epoch, reports)
        await self._keep_checkpoints(renewal.job, reports)
        return pb.RenewJobResponse(
            wanted=wanted_to_pb(renewal.wanted),
            duration=duration_to_pb(renewal.duration),
            principal=self._principal(renewal.job),
        )

    async def ReleaseJob(self, request: pb.ReleaseJobRequest, context: Context) -> pb.ReleaseJobResponse:
        reports = reports_of(request.events, request.first_event)
        job = await self._leases.release(request.job, request.epoch, reports, release_from_pb(request))
        await self._keep_checkpoints(job, reports)
        if job.made is not None:
            await self._checkpoints.keep_result(job.name, job.namespace, job.made.manifest_digest)
        return pb.ReleaseJobResponse(job=job_to_pb(job))

    async def _keep_checkpoints(self, job: Job, reports: Reports) -> None:
        for report in reports.reports:
            if isinstance(report, Checkpoint):
                await self._checkpoints.keep(job.name, job.namespace, report.manifest_digest)

    def _principal(self, job: Job) -> str:
        return self._signer.sign(job_principal(job.name, job.spec.output, job.base, job.dataset))


def trainer_from_pb(request: pb.RegisterTrainerRequest) -> Trainer:
    names = tuple(recipe.name for recipe in request.recipes)
    executors = tuple(request.executors)
    processes = request.processes or 1
    return Trainer(request.trainer, request.host, request.resource_class, names, executors, processes=processes)


def reports_of(events: Iterable[event_pb2.Event], first: int) -> Reports:
    return Reports(tuple(reports_from_pb(events)), first)


def release_from_pb(request: pb.ReleaseJobRequest) -> Release:
    # Its limits leave only outcomes that are known: one of a later release is a failure like another.
    names = pb.Outcome.DESCRIPTOR.values_by_number
    name = names[request.outcome].name.removeprefix("OUTCOME_") if request.outcome in names else "FAILED"
    made = made_from_pb(request.result) if request.HasField("result") else None
    return Release(Outcome(name), request.reason, request.message, made)


def source_to_pb(source: Source) -> pb.Source:
    return pb.Source(reference=source.reference, manifest_digest=source.manifest_digest)
