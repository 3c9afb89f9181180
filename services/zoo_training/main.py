"""The process `zoo-training`."""

import asyncio
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path

import grpc

from zoo.training.v1 import trainer_service_pb2_grpc as trainer_rpc
from zoo.training.v1 import training_service_pb2_grpc as training_rpc
from zoo_server.behalf import Acting
from zoo_server.log import configure_logging
from zoo_server.peers import open_peer
from zoo_server.principal import Signer
from zoo_server.server import build
from zoo_store.migration import migrate
from zoo_store.queue import Queue, open_queue
from zoo_store.sql import Database, open_database
from zoo_training.artifacts import Artifacts
from zoo_training.catalog import Catalog
from zoo_training.checkpoints import Checkpoints
from zoo_training.creation import Creation
from zoo_training.feed import EventFeed, open_feed
from zoo_training.jobs import Jobs
from zoo_training.leases import Leases
from zoo_training.listing import Listing
from zoo_training.pin_keeper import PinKeeper
from zoo_training.pins import Pins
from zoo_training.planning import Planner
from zoo_training.policy import Policy
from zoo_training.promotion import Promoter
from zoo_training.publications import Publications
from zoo_training.publishing import Publisher
from zoo_training.recipes import Recipes
from zoo_training.reconciler import Reconciler
from zoo_training.redescribing import Redescribing
from zoo_training.results import Results
from zoo_training.rules import RULES, SERVICES
from zoo_training.settings import Settings
from zoo_training.states import States
from zoo_training.sweep_ends import SweepEnds
from zoo_training.sweeps import Sweeps
from zoo_training.trainer_servicer import TrainerServicer
from zoo_training.training_servicer import TrainingParts, TrainingServicer
from zoo_training.watch import Watch

__all__ = ["MIGRATIONS", "Peers", "Upkeep", "main", "register"]

MIGRATIONS = Path(__file__).parent / "migrations" / "versions"


def main() -> None:
    settings = Settings()  # pyright: ignore[reportCallIssue] - the environment gives the rest
    configure_logging(settings.log_level)
    asyncio.run(serve(settings))


async def serve(settings: Settings) -> None:
    async with AsyncExitStack() as stack:
        signer = Signer.load(settings.identity)
        database = await stack.enter_async_context(open_database(settings.database_url))
        await migrate(database, MIGRATIONS)
        queue = await stack.enter_async_context(open_queue(settings.redis_url))
        artifact = await stack.enter_async_context(open_peer(settings.artifact, signer))
        catalog = await stack.enter_async_context(open_peer(settings.catalog, Acting(signer)))
        feed = await stack.enter_async_context(open_feed(database))
        server = build(settings, RULES)
        peers = Peers(Catalog(catalog), Artifacts(artifact), signer)
        upkeep = register(server.grpc, database, queue, feed, peers, Policy(), settings.pin_interval_s)
        await stack.enter_async_context(upkeep.reconciler.running())
        await stack.enter_async_context(upkeep.sweep_ends.running())
        await stack.enter_async_context(upkeep.pin_keeper.running())
        await stack.enter_async_context(upkeep.redescribing.running())
        await server.run(SERVICES, on_drain=feed.close)


@dataclass(frozen=True, slots=True)
class Peers:
    """Whom the service calls; `signer` is its own key, and its jobs'."""

    catalog: Catalog
    artifacts: Artifacts
    signer: Signer


@dataclass(frozen=True, slots=True)
class Upkeep:
    """What goes on beside the calls."""

    reconciler: Reconciler
    sweep_ends: SweepEnds
    pin_keeper: PinKeeper
    redescribing: Redescribing


def register(
    server: grpc.aio.Server,
    database: Database,
    queue: Queue,
    feed: EventFeed,
    peers: Peers,
    policy: Policy,
    pin_interval_s: float,
) -> Upkeep:
    """Put the services on the server; the feed has to be closed before the server can drain."""
    states = States(database, queue, policy)
    jobs, recipes, held = Jobs(states), Recipes(database), Pins(database, peers.artifacts)
    planner, promoter = Planner(database, peers.catalog, recipes), Promoter(database, peers.catalog)
    results = Results(states)
    publications = Publications(Publisher(peers.catalog, promoter), recipes, results)
    reconciler = Reconciler(states, results, publications.publish)
    parts = TrainingParts(
        creation=Creation(jobs, planner, held),
        jobs=jobs,
        listing=Listing(database),
        watch=Watch(database, feed),
        recipes=recipes,
        sweeps=Sweeps(states, planner, held),
    )
    training_rpc.add_TrainingServiceServicer_to_server(TrainingServicer(parts), server)
    leases = Leases(states, queue, on_made=reconciler.publish_soon)
    trainers = TrainerServicer(recipes, leases, Checkpoints(database, held), peers.signer)
    trainer_rpc.add_TrainerServiceServicer_to_server(trainers, server)
    sweep_ends = SweepEnds(database, promoter)
    return Upkeep(
        reconciler,
        sweep_ends,
        PinKeeper(database, peers.artifacts, held, pin_interval_s),
        Redescribing(states, recipes),
    )


if __name__ == "__main__":
    main()
