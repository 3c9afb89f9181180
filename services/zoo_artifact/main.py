"""The process `zoo-artifact`."""

import asyncio
from contextlib import AsyncExitStack
from pathlib import Path

import zoo_server.server
from zoo.artifact.v1 import artifact_service_pb2_grpc as rpc
from zoo_artifact.artifacts import Artifacts
from zoo_artifact.index import Index
from zoo_artifact.rules import RULES, SERVICE
from zoo_artifact.servicer import ArtifactServicer
from zoo_artifact.settings import Settings
from zoo_artifact.storage import Storage
from zoo_server.log import configure_logging
from zoo_store.blobs import S3Credentials, open_blobs
from zoo_store.migration import migrate
from zoo_store.sql import open_database

__all__ = ["main"]

VERSIONS = Path(__file__).parent / "migrations" / "versions"


async def serve(settings: Settings) -> None:
    async with AsyncExitStack() as stack:
        database = await stack.enter_async_context(open_database(settings.database_url))
        await migrate(database, VERSIONS)
        credentials = S3Credentials(settings.access_key, settings.secret_key)
        blobs = await stack.enter_async_context(open_blobs(settings.blobs_url, credentials, settings.blobs_public_url))
        server = zoo_server.server.build(settings, RULES)
        servicer = ArtifactServicer(Artifacts(Storage(blobs), Index(database)))
        rpc.add_ArtifactServiceServicer_to_server(servicer, server.grpc)  # pyright: ignore[reportUnknownMemberType]
        await server.run((SERVICE,))


def main() -> None:
    # Its fields come from the environment.
    settings = Settings()  # pyright: ignore[reportCallIssue]
    configure_logging(settings.log_level)
    asyncio.run(serve(settings))


if __name__ == "__main__":
    main()
