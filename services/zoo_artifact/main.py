"""The process `zoo-artifact`."""

import asyncio
from contextlib import AsyncExitStack
from datetime import timedelta
from pathlib import Path

import grpc

import zoo_server.server
from zoo.artifact.v1 import artifact_service_pb2_grpc as rpc
from zoo.artifact.v1 import upkeep_service_pb2_grpc as upkeep_rpc
from zoo_artifact.artifacts import Artifacts
from zoo_artifact.index import Index
from zoo_artifact.rules import RULES, SERVICE, UPKEEP, UPKEEP_RULES
from zoo_artifact.servicer import ArtifactServicer
from zoo_artifact.settings import Settings
from zoo_artifact.storage import Storage
from zoo_artifact.upkeep import Upkeep
from zoo_artifact.upkeep_schedule import Schedule, keep_up
from zoo_artifact.upkeep_servicer import UpkeepServicer
from zoo_server.log import configure_logging
from zoo_store.blobs import S3Credentials, open_blobs
from zoo_store.migration import migrate
from zoo_store.sql import open_database

__all__ = ["VERSIONS", "main", "register"]

VERSIONS = Path(__file__).parent / "migrations" / "versions"


async def serve(settings: Settings) -> None:
    async with AsyncExitStack() as stack:
        database = await stack.enter_async_context(open_database(settings.database_url))
        await migrate(database, VERSIONS)
        credentials = S3Credentials(settings.access_key, settings.secret_key)
        blobs = await stack.enter_async_context(open_blobs(settings.blobs_url, credentials, settings.blobs_public_url))
        storage = Storage(blobs)
        upkeep = Upkeep(blobs, storage, database, timedelta(seconds=settings.sweep_grace_s), settings.holders)
        rebuild = await upkeep.prepare()
        server = zoo_server.server.build(settings, {**RULES, **UPKEEP_RULES})
        register(server.grpc, Artifacts(storage, Index(database), upkeep.adoption), upkeep)
        tasks = await stack.enter_async_context(asyncio.TaskGroup())
        keeping_up = tasks.create_task(keep_up(upkeep, _schedule(settings), rebuild=rebuild))
        await server.run((SERVICE, UPKEEP))
        keeping_up.cancel()


def register(server: grpc.aio.Server, artifacts: Artifacts, upkeep: Upkeep) -> None:
    """Put both services on the server."""
    rpc.add_ArtifactServiceServicer_to_server(ArtifactServicer(artifacts), server)
    upkeep_rpc.add_UpkeepServiceServicer_to_server(UpkeepServicer(upkeep), server)


def _schedule(settings: Settings) -> Schedule:
    return Schedule(
        sweep_interval=timedelta(seconds=settings.sweep_interval_s),
        scrub_interval=timedelta(seconds=settings.scrub_interval_s),
        scrub_sample=settings.scrub_sample,
        scrub_bytes_per_s=settings.scrub_bytes_per_s,
    )


def main() -> None:
    # Its fields come from the environment.
    settings = Settings()  # pyright: ignore[reportCallIssue]
    configure_logging(settings.log_level)
    asyncio.run(serve(settings))


if __name__ == "__main__":
    main()
