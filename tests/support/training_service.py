"""The training service on a free port of this process, beside real artifact and catalog services; and a trainer."""

import itertools
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from google.protobuf.duration_pb2 import Duration

from support.artifact_server import Caller
from support.job_log import check_job_log
from support.tables import open_migrated
from support.training_zoo import BASE, CLASSIFICATION, DATA, TrainingZoo
from zoo.training.v1 import event_pb2, job_pb2
from zoo.training.v1 import trainer_service_pb2 as trainer_pb
from zoo.training.v1 import trainer_service_pb2_grpc as trainer_rpc
from zoo.training.v1 import training_service_pb2 as pb
from zoo.training.v1 import training_service_pb2_grpc as rpc
from zoo_server.credentials import make_credentials
from zoo_server.peers import open_peer
from zoo_server.principal import Principal, Role, Signer
from zoo_server.server import build
from zoo_server.settings import ServerSettings
from zoo_store.queue import open_queue
from zoo_store.sql import Database
from zoo_training.feed import open_feed
from zoo_training.main import MIGRATIONS, Peers, Upkeep, register
from zoo_training.policy import Policy
from zoo_training.recipe import Recipe
from zoo_training.rules import RULES, SERVICES
from zoo_training.spec_messages import recipe_to_pb

__all__ = ["ANN", "TrainerOf", "TrainingService", "running_training", "spec"]

ANN = Principal("user:ann", {"team": Role.TRAINER, "zoo": Role.VIEWER})
ACCURACY = {"metric": "accuracy", "before": 0.25, "split": "validation", "items": 16}
numbers = itertools.count()


def spec(output: str = "team/topics-bert", **fields: Any) -> job_pb2.JobSpec:
    return job_pb2.JobSpec(**{"base": BASE, "dataset": DATA, "output": output, "recipe": CLASSIFICATION.name} | fields)


class _As:
    """Signs as the gateway does for a caller."""

    def __init__(self, gateway: Signer, principal: Principal) -> None:
        self._gateway = gateway
        self._principal = principal

    def own_token(self) -> str:
        return self._gateway.sign(self._principal)


@dataclass
class TrainingService:
    """A running service; `ann` is a trainer of `team`. Its rounds come when a test asks for one."""

    zoo: TrainingZoo
    database: Database
    upkeep: Upkeep
    address: str
    stack: AsyncExitStack
    ann: rpc.TrainingServiceStub = field(init=False)

    async def caller(self, principal: Principal) -> rpc.TrainingServiceStub:
        return rpc.TrainingServiceStub(await self._channel(_As(self.zoo.gateway, principal)))

    async def trainers_of(self, principal: Principal) -> trainer_rpc.TrainerServiceStub:
        """TrainerService, as somebody calls it whom the gateway lets through."""
        return trainer_rpc.TrainerServiceStub(await self._channel(_As(self.zoo.gateway, principal)))

    async def trainer(self, recipes: Iterable[Recipe] = (CLASSIFICATION,), resource_class: str = "cpu") -> "TrainerOf":
        """An agent with its own identity, registered."""
        identity = Signer.load(make_credentials(self.zoo.folder / "secrets").identities["trainer"])
        stub = trainer_rpc.TrainerServiceStub(await self._channel(identity))
        trainer = TrainerOf(self, stub, f"agent-{next(numbers)}")
        request = trainer_pb.RegisterTrainerRequest(
            trainer=trainer.name,
            host="here",
            resource_class=resource_class,
            recipes=map(recipe_to_pb, recipes),
            executors=["process"],
        )
        await stub.RegisterTrainer(request)
        return trainer

    async def create(self, wanted: job_pb2.JobSpec | None = None, **fields: Any) -> job_pb2.Job:
        request = pb.CreateJobRequest(job=job_pb2.Job(spec=wanted or spec()), **fields)
        return (await self.ann.CreateJob(request)).job

    async def get(self, name: str) -> job_pb2.Job:
        return (await self.ann.GetJob(pb.GetJobRequest(name=name))).job

    async def events(self, name: str) -> list[event_pb2.Event]:
        return [answer.event async for answer in self.ann.WatchJob(pb.WatchJobRequest(name=name))]

    async def publish(self) -> None:
        """What the service does beside: results are published, sweeps end, pins are looked after."""
        await self.upkeep.reconciler.publish()
        await self.upkeep.sweep_ends.look()
        await self.upkeep.pin_keeper.look()

    async def _channel(self, signer: Any) -> Any:
        return await self.stack.enter_async_context(open_peer(self.address, signer))


@dataclass
class TrainerOf:
    """An agent that trains nothing, and pushes something all the same."""

    service: TrainingService
    stub: trainer_rpc.TrainerServiceStub
    name: str

    async def lease(self) -> trainer_pb.Lease | None:
        response = await self.stub.LeaseJob(trainer_pb.LeaseJobRequest(trainer=self.name, wait=Duration()))
        return response.lease if response.HasField("lease") else None

    async def work(self, accuracy: float) -> trainer_pb.Lease:
        """Lease the next job and finish it."""
        lease = await self.lease()
        assert lease is not None, "no job waits"
        await self.finish(lease, accuracy)
        return lease

    def as_job(self, principal: str) -> Caller:
        """The artifact service, as the job sees it."""
        return self.service.zoo.caller_with(principal)

    async def renew(self, lease: trainer_pb.Lease, *events: event_pb2.Event, first: int = 1) -> Any:
        request = trainer_pb.RenewJobRequest(
            job=lease.job.name, epoch=lease.epoch, events=events, first_event=first if events else 0
        )
        return await self.stub.RenewJob(request)

    async def finish(self, lease: trainer_pb.Lease, accuracy: float, files: Mapping[str, bytes] | None = None) -> None:
        """Push what was "trained", with the job's own principal, and give the lease back."""
        namespace = lease.job.spec.output.partition("/")[0]
        made = files or {"weights.bin": lease.job.name.encode()}
        digest = await self.as_job(lease.principal).push(made, namespace=namespace)
        measured = job_pb2.Measured(after=accuracy, **ACCURACY)
        await self.stub.ReleaseJob(
            trainer_pb.ReleaseJobRequest(
                job=lease.job.name,
                epoch=lease.epoch,
                outcome=trainer_pb.OUTCOME_TRAINED,
                result=trainer_pb.Result(manifest_digest=digest, measured=[measured], used={"wall_seconds": 4.0}),
            )
        )


@asynccontextmanager
async def running_training(
    zoo: TrainingZoo, database_url: str = "", policy: Policy | None = None
) -> AsyncIterator[TrainingService]:
    """With its tables beside the zoo's, or where the URL says. A second one on the same tables, after the first has
    ended, goes on where that was."""
    async with AsyncExitStack() as stack:
        url = database_url or f"sqlite:///{zoo.folder}/training.db"
        database = await stack.enter_async_context(open_migrated(url, MIGRATIONS))
        queue = await stack.enter_async_context(open_queue("memory://"))
        feed = await stack.enter_async_context(open_feed(database))
        server = build(ServerSettings(trust=zoo.folder, drain_s=0.5), RULES, zoo.verifier)
        peers = Peers(zoo.catalog, zoo.artifacts, zoo.training)
        upkeep = register(server.grpc, database, queue, feed, peers, policy or Policy(), 3600)
        await server.start(SERVICES)
        stack.push_async_callback(server.drain)
        stack.push_async_callback(feed.close)
        service = TrainingService(zoo, database, upkeep, f"127.0.0.1:{server.port}", stack)
        service.ann = await service.caller(ANN)
        # What was queued before is in the tables alone.
        await upkeep.reconciler.offer_all()
        yield service
        await check_job_log(database)
