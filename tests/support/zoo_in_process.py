"""Real artifact and catalog services on a thread of their own, behind a front door, for clients that block."""

import asyncio
import threading
from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from pathlib import Path

import grpc

from support.front_door import FrontDoor, front_door
from support.tables import open_migrated
from zoo_artifact.artifacts import Artifacts
from zoo_artifact.index import Index
from zoo_artifact.main import VERSIONS
from zoo_artifact.main import register as register_artifact
from zoo_artifact.rules import RULES as ARTIFACT_RULES
from zoo_artifact.rules import SERVICE as ARTIFACT_SERVICE
from zoo_artifact.rules import UPKEEP, UPKEEP_RULES
from zoo_artifact.storage import Storage
from zoo_artifact.upkeep import Upkeep
from zoo_catalog.artifacts import Artifacts as CatalogArtifacts
from zoo_catalog.feed import open_feed
from zoo_catalog.main import MIGRATIONS, register
from zoo_catalog.rules import RULES as CATALOG_RULES
from zoo_catalog.rules import SERVICES as CATALOG_SERVICES
from zoo_catalog.watches import Watches
from zoo_server.peers import open_peer
from zoo_server.principal import Principal, Role, Signer, TrustedKey, Verifier, create_signer
from zoo_server.server import build
from zoo_server.settings import ServerSettings
from zoo_store.blobs import BlobStore
from zoo_store.blobs_memory import MemoryBlobStore

__all__ = ["KEYS", "artifact_and_catalog", "zoo_in_process"]

KEYS = {
    "admin-key": Principal("admin", {"*": Role.ADMIN}),
    "viewer-key": Principal("user:vera", {"team": Role.VIEWER}),
    "stranger-key": Principal("user:sam", {}),
}


@contextmanager
def zoo_in_process(
    folder: Path, own: Iterable[grpc.GenericRpcHandler] = (), store: BlobStore | None = None, catalog_url: str = ""
) -> Iterator[FrontDoor]:
    """A zoo whose callers have the keys of KEYS. `own` handlers stand in for services that are not here; blobs are kept
    in memory unless a store is given, the catalog's rows in SQLite unless a URL is."""
    gateway, catalog = create_signer("gateway"), create_signer("catalog")
    trusted = Verifier(
        [
            TrustedKey("gateway", gateway.public_key(), None),
            TrustedKey("catalog", catalog.public_key(), Principal("service:catalog", {"*": Role.ADMIN})),
        ]
    )
    services = artifact_and_catalog(folder, trusted, catalog, store or MemoryBlobStore(), catalog_url)
    with _on_a_thread(services) as upstreams, front_door(upstreams, KEYS, gateway, own) as door:
        yield door


@asynccontextmanager
async def artifact_and_catalog(
    folder: Path, trusted: Verifier, catalog: Signer, store: BlobStore, catalog_url: str = ""
) -> AsyncIterator[dict[str, str]]:
    settings = ServerSettings(trust=folder, drain_s=0.2)
    async with AsyncExitStack() as stack:
        index = await stack.enter_async_context(open_migrated(f"sqlite:///{folder}/artifact.db", VERSIONS))
        artifact_server = build(settings, {**ARTIFACT_RULES, **UPKEEP_RULES}, trusted)
        storage = Storage(store)
        upkeep = Upkeep(store, storage, index)
        register_artifact(artifact_server.grpc, Artifacts(storage, Index(index), upkeep.adoption), upkeep)
        await artifact_server.start((ARTIFACT_SERVICE, UPKEEP))
        stack.push_async_callback(artifact_server.drain)

        artifact = f"127.0.0.1:{artifact_server.port}"
        peer = await stack.enter_async_context(open_peer(artifact, catalog))
        url = catalog_url or f"sqlite:///{folder}/catalog.db"
        database = await stack.enter_async_context(open_migrated(url, MIGRATIONS))
        catalog_server = build(settings, CATALOG_RULES, trusted)
        feed = await stack.enter_async_context(open_feed(database))
        register(catalog_server.grpc, database, CatalogArtifacts(peer), feed, Watches())
        await catalog_server.start(CATALOG_SERVICES)
        stack.push_async_callback(catalog_server.drain)
        stack.push_async_callback(feed.close)
        yield {
            ARTIFACT_SERVICE: artifact,
            UPKEEP: artifact,
            **dict.fromkeys(CATALOG_SERVICES, f"127.0.0.1:{catalog_server.port}"),
        }


@contextmanager
def _on_a_thread(services: AsyncIterator[dict[str, str]]) -> Iterator[dict[str, str]]:
    """What the context manager gives, entered and left on an event loop that runs beside the test."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="zoo-in-process")
    thread.start()
    try:
        yield asyncio.run_coroutine_threadsafe(services.__aenter__(), loop).result(30)
        asyncio.run_coroutine_threadsafe(services.__aexit__(None, None, None), loop).result(30)
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join(30)
        loop.close()
