"""The services' own migrations, on tables that their own code has filled: down and up, on every engine."""

import re
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, MetaData, func, select

import zoo_artifact.main
import zoo_artifact.schema
import zoo_catalog.main
import zoo_catalog.schema
from modelzoo.signing import bundle as signing
from modelzoo.signing.keys import new_key
from support.artifact_fake import file_of
from support.artifact_server import artifact_server, manifest_of
from support.catalog_service import CatalogService, running_catalog
from zoo.catalog.v1 import access_service_pb2 as access_pb
from zoo.catalog.v1 import catalog_service_pb2 as catalog_pb
from zoo.catalog.v1 import model_pb2
from zoo.catalog.v1 import signature_service_pb2 as signature_pb
from zoo.catalog.v1.edge_pb2 import EDGE_KIND_FINE_TUNED, Parent
from zoo.catalog.v1.signature_pb2 import TrustedSigner
from zoo.iam.v1 import iam_service_pb2 as iam_pb
from zoo_server.principal import Role
from zoo_store.blobs_memory import MemoryBlobStore
from zoo_store.migration import HERE, migrate, migrate_back
from zoo_store.sql import Database

OTHER = {"other.bin": b"2"}

Use = Callable[[], Awaitable[None]]


@dataclass(frozen=True)
class Running:
    """A service with something in every table; `use` goes on with what is there, whatever that is."""

    database: Database
    use: Use


@asynccontextmanager
async def catalog(folder: Path, url: str) -> AsyncIterator[Running]:
    async with running_catalog(folder, url) as zoo:

        async def use() -> None:
            if not (await zoo.admin.iam.ListKeys(iam_pb.ListKeysRequest())).keys:
                await zoo.published("team/bert")
                await zoo.admin.iam.CreateKey(iam_pb.CreateKeyRequest(key={"subject": "app"}))
                grant = {"namespace": "team", "subject": "app", "role": int(Role.VIEWER)}
                await zoo.admin.iam.CreateGrant(iam_pb.CreateGrantRequest(grant=grant))
                gated = model_pb2.Model(name="team/gated", gated=True)
                await zoo.admin.catalog.CreateModel(catalog_pb.CreateModelRequest(model=gated))
                await zoo.admin.access.RequestAccess(access_pb.RequestAccessRequest(model="team/gated"))
            digest = zoo.artifact.put("team", {"README.md": b"---\ntags: [small]\n---\nA card."})
            parent = Parent(reference="team/bert@1", kind=EDGE_KIND_FINE_TUNED)
            await zoo.admin.publish("team/bert", digest, request_id="r1", parents=[parent])
            await zoo.admin.set_alias("team/bert", "prod", {1: 1, 2: 3})
            assert (await zoo.admin.get("team/bert@sha256:" + digest)).version == 2
            await describe(zoo)
            await sign(zoo)

        yield Running(zoo.database, use)


async def describe(zoo: CatalogService) -> None:
    """The second version, by a label and a metric; it is found by what was said of it before."""
    wanted = catalog_pb.ListVersionsRequest(model="team/bert", filter="labels.stage = test AND metrics.sst2.f1 > 0.4")
    version = model_pb2.Version(model="team/bert", version=2, labels={"stage": "test"})
    described = bool((await zoo.admin.get("team/bert@2")).labels)
    assert [each.version for each in (await zoo.admin.catalog.ListVersions(wanted)).versions] == [2] * described
    await zoo.admin.catalog.UpdateVersion(catalog_pb.UpdateVersionRequest(version=version))
    metrics = catalog_pb.SetMetricsRequest(reference="team/bert@2", dataset="sst2", values={"f1": 0.5})
    await zoo.admin.catalog.SetMetrics(metrics)
    assert [each.version for each in (await zoo.admin.catalog.ListVersions(wanted)).versions] == [2]


async def sign(zoo: CatalogService) -> None:
    """The first version, by a key that the namespace trusts."""
    key = new_key()
    bundle = signing.sign("", {"weights.bin": file_of("weights.bin", b"team/bert 0").sha256}, key)
    pem = key.public_key.pem
    await zoo.admin.signatures.AddSignature(
        signature_pb.AddSignatureRequest(reference="team/bert@1", bundle=bundle, public_key=pem)
    )
    signers = [TrustedSigner(name="release", public_key=pem)]
    await zoo.admin.signatures.SetTrustedSigners(
        signature_pb.SetTrustedSignersRequest(namespace="team", signers=signers)
    )


@asynccontextmanager
async def artifact(folder: Path, url: str) -> AsyncIterator[Running]:
    async with artifact_server(MemoryBlobStore(), folder, url) as server:

        async def use() -> None:
            digest = await server.caller().push({"weights.bin": b"1"})
            assert await server.caller().read(digest, "weights.bin") == b"1"
            admin = server.caller({"team": Role.ADMIN})
            await admin.allow_opaque()
            await admin.release(manifest_of(OTHER).digest())
            await admin.quarantine(await server.caller().push(OTHER))
            state = server.upkeep.state
            await state.confirm("service:catalog", (await state.get()).index_id)

        yield Running(server.database, use)


@dataclass(frozen=True)
class Service:
    running: Callable[[Path, str], AbstractAsyncContextManager[Running]]
    versions: Path
    metadata: MetaData

    def revisions(self) -> list[str]:
        """Newest first."""
        scripts = ScriptDirectory(str(HERE), version_locations=[str(self.versions)])
        return [script.revision for script in scripts.walk_revisions()]


CATALOG = Service(catalog, zoo_catalog.main.MIGRATIONS, zoo_catalog.schema.metadata)
ARTIFACT = Service(artifact, zoo_artifact.main.VERSIONS, zoo_artifact.schema.metadata)


async def counts(database: Database, metadata: MetaData) -> dict[str, int]:
    async with database.read() as connection:
        tables = metadata.sorted_tables
        return {t.name: await connection.scalar(select(func.count()).select_from(t)) or 0 for t in tables}


async def differences(database: Database, metadata: MetaData) -> list[object]:
    """Between the tables that are there and those that the code expects."""

    def is_ours(_: object, name: str | None, *__: object) -> bool:
        return not re.search("_text(_|$)", name or "")  # a TextIndex's own, other on each engine

    def compare(connection: Connection) -> list[object]:
        context = MigrationContext.configure(connection, opts={"include_object": is_ours})
        return list(compare_metadata(context, metadata))

    async with database.change_schema() as connection:
        return await connection.run_sync(compare)


@pytest.mark.parametrize("service", [CATALOG, ARTIFACT], ids=["catalog", "artifact"])
async def test_filled_tables_go_down_to_every_revision_and_up_again(
    service: Service, database_url: str, tmp_path: Path
) -> None:
    async with service.running(tmp_path, database_url) as running:
        assert await differences(running.database, service.metadata) == []
        await running.use()
        filled = await counts(running.database, service.metadata)
        assert all(filled.values()), f"a table is not filled by this test: {filled}"
        for revision in [*service.revisions(), "base"]:
            await migrate_back(running.database, service.versions, revision)
            await migrate(running.database, service.versions)
            assert await differences(running.database, service.metadata) == []
            await running.use()
