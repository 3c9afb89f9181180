"""The process `zoo-catalog`."""

import asyncio
from contextlib import AsyncExitStack
from pathlib import Path

import grpc

from zoo.catalog.v1 import access_service_pb2_grpc as access_rpc
from zoo.catalog.v1 import catalog_service_pb2_grpc as catalog_rpc
from zoo.catalog.v1 import change_service_pb2_grpc as change_rpc
from zoo.catalog.v1 import lineage_service_pb2_grpc as lineage_rpc
from zoo.catalog.v1 import signature_service_pb2_grpc as signature_rpc
from zoo.iam.v1 import iam_service_pb2_grpc as iam_rpc
from zoo_catalog.access import AccessSnapshots
from zoo_catalog.access_servicer import AccessServicer
from zoo_catalog.aliases import Aliases
from zoo_catalog.artifacts import Artifacts
from zoo_catalog.bootstrap import bootstrap
from zoo_catalog.catalog_servicer import CatalogParts, CatalogServicer
from zoo_catalog.change_log import ChangeLog
from zoo_catalog.change_servicer import ChangeServicer
from zoo_catalog.deletion import Deletions
from zoo_catalog.edges import Edges
from zoo_catalog.edits import VersionEdits
from zoo_catalog.feed import ChangeFeed, open_feed
from zoo_catalog.gates import Gates
from zoo_catalog.grants import Grants
from zoo_catalog.iam_servicer import IamServicer
from zoo_catalog.keys import Keys
from zoo_catalog.lineage import LineageReader
from zoo_catalog.lineage_servicer import LineageServicer
from zoo_catalog.models import Models
from zoo_catalog.namespace_edits import NamespaceEdits
from zoo_catalog.namespaces import Namespaces
from zoo_catalog.pin_keeper import PinKeeper
from zoo_catalog.publish import Publisher
from zoo_catalog.purge import Purger
from zoo_catalog.quarantine import Quarantine
from zoo_catalog.rules import RULES, SERVICES
from zoo_catalog.search import Search
from zoo_catalog.settings import Settings
from zoo_catalog.signature_servicer import SignatureServicer
from zoo_catalog.signatures import Signatures
from zoo_catalog.signers import Signers
from zoo_catalog.version_search import VersionSearch
from zoo_catalog.versions import Versions
from zoo_catalog.watches import Watches
from zoo_server.log import configure_logging
from zoo_server.peers import open_peer
from zoo_server.principal import Signer
from zoo_server.server import build
from zoo_store.migration import migrate
from zoo_store.sql import Database, open_database

__all__ = ["MIGRATIONS", "main", "register"]

MIGRATIONS = Path(__file__).parent / "migrations" / "versions"


def main() -> None:
    settings = Settings()  # pyright: ignore[reportCallIssue] - the environment gives the rest
    configure_logging(settings.log_level)
    asyncio.run(serve(settings))


async def serve(settings: Settings) -> None:
    async with AsyncExitStack() as stack:
        database = await stack.enter_async_context(open_database(settings.database_url))
        await migrate(database, MIGRATIONS)
        if settings.bootstrap_key_file is not None:
            await bootstrap(database, settings.bootstrap_key_file.read_text().strip())
        channel = await stack.enter_async_context(open_peer(settings.artifact, Signer.load(settings.identity)))
        feed = await stack.enter_async_context(open_feed(database))
        server = build(settings, RULES)
        artifacts = Artifacts(channel)
        register(server.grpc, database, artifacts, feed, Watches(settings.watches))
        await stack.enter_async_context(Purger(database, artifacts).running(settings.purge_interval_s))
        keeper = PinKeeper(
            database, artifacts, NamespaceEdits(Namespaces(database), artifacts), settings.pin_interval_s
        )
        await stack.enter_async_context(keeper.running())
        await server.run(SERVICES, on_drain=feed.close)


def register(
    server: grpc.aio.Server, database: Database, artifacts: Artifacts, feed: ChangeFeed, watches: Watches
) -> None:
    """Put the services on the server; the feed has to be closed before the server can drain."""
    namespaces = Namespaces(database)
    parts = CatalogParts(
        namespaces=namespaces,
        namespace_edits=NamespaceEdits(namespaces, artifacts),
        models=Models(database),
        search=Search(database),
        versions=Versions(database),
        version_search=VersionSearch(database),
        publisher=Publisher(database, artifacts),
        edits=VersionEdits(database),
        deletions=Deletions(database),
        purger=Purger(database, artifacts),
        quarantine=Quarantine(database, artifacts),
        aliases=Aliases(database),
    )
    iam = IamServicer(Keys(database), Grants(database), AccessSnapshots(database, feed))
    catalog_rpc.add_CatalogServiceServicer_to_server(CatalogServicer(parts), server)
    access_rpc.add_AccessServiceServicer_to_server(AccessServicer(Gates(database)), server)
    change_rpc.add_ChangeServiceServicer_to_server(ChangeServicer(ChangeLog(database, feed), watches), server)
    lineage_rpc.add_LineageServiceServicer_to_server(LineageServicer(Edges(database), LineageReader(database)), server)
    signatures = SignatureServicer(Signatures(database, artifacts), Signers(database))
    signature_rpc.add_SignatureServiceServicer_to_server(signatures, server)
    iam_rpc.add_IamServiceServicer_to_server(iam, server)


if __name__ == "__main__":
    main()
