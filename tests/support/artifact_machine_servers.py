"""The artifact machine on real servers: a bucket prefix, and tables, of each run's own."""

import uuid

from support.artifact_machine import ArtifactMachine
from support.artifact_server import ArtifactServer, artifact_server
from support.postgresql import PostgresqlServer
from support.servers import S3Server
from support.upkeep import AgedBlobs, AgedStore
from zoo_store.blobs import S3Credentials, open_blobs

__all__ = ["on_postgresql", "on_sqlite"]

REPLICAS = 2


def on_sqlite(s3: S3Server) -> type[ArtifactMachine]:
    return _machine(s3, None)


def on_postgresql(s3: S3Server, postgresql: PostgresqlServer) -> type[ArtifactMachine]:
    """Through two replicas that share a bucket and a database."""
    return _machine(s3, postgresql)


def _machine(s3: S3Server, postgresql: PostgresqlServer | None) -> type[ArtifactMachine]:
    class Machine(ArtifactMachine):
        async def enter(self) -> tuple[AgedBlobs | AgedStore, list[ArtifactServer]]:
            name = uuid.uuid4().hex
            url = f"s3://zoo-test/{name}?endpoint={s3.endpoint}"
            credentials = S3Credentials(s3.access_key, s3.secret_key)
            database_url = postgresql.url(f"machine_{name}") if postgresql else ""
            stores: list[AgedStore] = []
            replicas: list[ArtifactServer] = []
            for _ in range(REPLICAS if postgresql else 1):
                inner = await self.stack.enter_async_context(open_blobs(url, credentials, s3.endpoint))
                stores.append(AgedStore(inner, stores[0] if stores else None))
                served = artifact_server(stores[-1], self.folder, database_url)
                replicas.append(await self.stack.enter_async_context(served))
            return stores[0], replicas

    return Machine
