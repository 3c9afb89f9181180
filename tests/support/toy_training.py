"""A TrainerService that keeps the contract of its proto (leases, epochs, event numbers) in memory, and an artifact
service beside it that takes its jobs' principals."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import grpc

from modelzoo.errors import Aborted, FailedPrecondition, NotFound, OutOfRange, Unavailable
from modelzoo.tree import read_tree
from modelzoo.upload import upload
from support.zoo_in_process import artifact_and_catalog
from zoo.training.v1 import event_pb2, job_pb2
from zoo.training.v1 import trainer_service_pb2 as pb
from zoo.training.v1 import trainer_service_pb2_grpc as rpc
from zoo_artifact.rules import SERVICE as ARTIFACT
from zoo_server.authorization import Open
from zoo_server.peers import open_sync_peer
from zoo_server.principal import Principal, Role, Signer, TrustedKey, Verifier, create_signer
from zoo_server.server import build
from zoo_server.settings import ServerSettings
from zoo_store.blobs_memory import MemoryBlobStore

__all__ = ["ToyJob", "ToyTraining", "toy_training"]

TRAINER_SERVICE = "zoo.training.v1.TrainerService"
RULES = {
    f"/{TRAINER_SERVICE}/{method}": Open.TO_ALL for method in ("RegisterTrainer", "LeaseJob", "RenewJob", "ReleaseJob")
}


@dataclass
class ToyJob:
    """What the service knows of a job. `events` have their epochs; `releases` are those that were accepted."""

    lease: pb.Lease
    epoch: int = 0
    held: bool = False
    wanted: job_pb2.Wanted = job_pb2.WANTED_RUN
    next_event: int = 1
    renewals: int = 0
    host: str = ""
    events: list[event_pb2.Event] = field(default_factory=list)
    releases: list[pb.ReleaseJobRequest] = field(default_factory=list)

    @property
    def logs(self) -> str:
        return "\n".join(event.log.text for event in self.events if event.HasField("log"))

    @property
    def checkpoints(self) -> list[job_pb2.Checkpoint]:
        return [event.checkpoint for event in self.events if event.HasField("checkpoint")]

    @property
    def steps(self) -> list[int]:
        return [event.metrics.progress.step for event in self.events if event.HasField("metrics")]


class ToyTraining(rpc.TrainerServiceServicer):
    """`away` refuses all calls; `lose_answers` counts answers of RenewJob and ReleaseJob that get lost."""

    def __init__(self, signer: Signer) -> None:
        self._signer = signer
        self.jobs: dict[str, ToyJob] = {}
        self.trainers: dict[str, pb.RegisterTrainerRequest] = {}
        self.queue: asyncio.Queue[str] = asyncio.Queue()
        self.away = False
        self.refused = 0
        self.lose_answers = 0
        self.address = ""
        self.artifact = ""
        self._admin = create_signer("unused")

    def add(self, leased: pb.Lease) -> ToyJob:
        job = self.jobs[leased.job.name] = ToyJob(leased)
        self.queue.put_nowait(leased.job.name)
        return job

    def lapse(self, name: str) -> None:
        """The lease of the job lapses: the next trainer gets it."""
        self.jobs[name].held = False
        self.queue.put_nowait(name)

    def reading(self) -> grpc.Channel:
        """To the artifact service, as one who may do everything."""
        return open_sync_peer(self.artifact, _As(self._signer, Principal("admin", {"*": Role.ADMIN})))

    async def push(self, folder: Path, namespace: str, format: str) -> str:
        """The digest of a directory's manifest, once it is there."""

        def run() -> str:
            with self.reading() as channel:
                return upload(channel, read_tree(folder), namespace, format=format).digest

        return await asyncio.to_thread(run)

    async def RegisterTrainer(self, request: pb.RegisterTrainerRequest, context: object) -> pb.RegisterTrainerResponse:
        self._check()
        self.trainers[request.trainer] = request
        return pb.RegisterTrainerResponse()

    async def LeaseJob(self, request: pb.LeaseJobRequest, context: object) -> pb.LeaseJobResponse:
        self._check()
        if request.trainer not in self.trainers:
            raise FailedPrecondition("TRAINER_MISSING", "register first, please")
        try:
            async with asyncio.timeout(request.wait.ToTimedelta().total_seconds()):
                name = await self.queue.get()
        except TimeoutError:
            return pb.LeaseJobResponse()
        job = self.jobs[name]
        job.epoch, job.held, job.next_event, job.host = job.epoch + 1, True, 1, request.trainer
        lease = pb.Lease()
        lease.CopyFrom(job.lease)
        lease.epoch, lease.next_event, lease.principal = job.epoch, 1, self._principal(job)
        lease.duration.FromSeconds(30)
        if job.checkpoints:
            lease.job.checkpoint.CopyFrom(job.checkpoints[-1])
        return pb.LeaseJobResponse(lease=lease)

    async def RenewJob(self, request: pb.RenewJobRequest, context: object) -> pb.RenewJobResponse:
        job = self._held(request.job, request.epoch)
        self._take(job, request.first_event, request.events)
        job.renewals += 1
        self._lose()
        return pb.RenewJobResponse(wanted=job.wanted, principal=self._principal(job))

    async def ReleaseJob(self, request: pb.ReleaseJobRequest, context: object) -> pb.ReleaseJobResponse:
        self._check()
        job = self.jobs[request.job]
        if job.releases and not job.held and job.epoch == request.epoch:
            return pb.ReleaseJobResponse()  # repeated
        self._held(request.job, request.epoch)
        self._take(job, request.first_event, request.events)
        job.held = False
        job.releases.append(request)
        self._lose()
        return pb.ReleaseJobResponse()

    def _held(self, name: str, epoch: int) -> ToyJob:
        self._check()
        if name not in self.jobs:
            raise NotFound("JOB_NOT_FOUND", "there is no such job, list them")
        job = self.jobs[name]
        if not job.held or job.epoch != epoch:
            raise Aborted("JOB_LEASE_LOST", "the lease is lost, stop working on it")
        return job

    def _take(self, job: ToyJob, first: int, events: "list[event_pb2.Event]") -> None:
        if events and first > job.next_event:
            raise OutOfRange("CURSOR_INVALID", "events are missing", metadata={"next": str(job.next_event)})
        new = list(events)[job.next_event - first :] if events else []
        for event in new:
            event.epoch = job.epoch
        job.events += new
        job.next_event += len(new)

    def _check(self) -> None:
        if self.away:
            self.refused += 1
            raise Unavailable("DRAINING", "come back later, please")

    def _lose(self) -> None:
        if self.lose_answers:
            self.lose_answers -= 1
            raise Unavailable("DRAINING", "the answer was lost on its way")

    def _principal(self, job: ToyJob) -> str:
        roles = {"zoo": Role.VIEWER, job.lease.job.spec.output.partition("/")[0]: Role.PUBLISHER}
        return self._signer.sign(Principal(f"job:{job.lease.job.name}", roles))


@dataclass
class _As:
    signer: Signer
    principal: Principal

    def own_token(self) -> str:
        return self.signer.sign(self.principal)


@asynccontextmanager
async def toy_training(folder: Path) -> AsyncIterator[ToyTraining]:
    training, catalog = create_signer("training"), create_signer("catalog")
    trusted = Verifier(
        [
            TrustedKey("training", training.public_key(), None),
            TrustedKey("catalog", catalog.public_key(), Principal("service:catalog", {"*": Role.ADMIN})),
        ]
    )
    folder.mkdir(parents=True, exist_ok=True)
    async with AsyncExitStack() as stack:
        upstreams = await stack.enter_async_context(artifact_and_catalog(folder, trusted, catalog, MemoryBlobStore()))
        toy = ToyTraining(training)
        server = build(ServerSettings(trust=folder, drain_s=0.2), RULES, trusted)
        rpc.add_TrainerServiceServicer_to_server(toy, server.grpc)
        await server.start((TRAINER_SERVICE,))
        stack.push_async_callback(server.drain)
        toy.address, toy.artifact = f"127.0.0.1:{server.port}", upstreams[ARTIFACT]
        yield toy
