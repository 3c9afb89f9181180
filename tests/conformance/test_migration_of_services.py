"""The services' own migrations, on tables that their own code has filled: down and up, on every engine."""

import re
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from uuid import uuid4

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, MetaData, func, insert, select

import zoo_artifact.main
import zoo_artifact.schema
import zoo_catalog.main
import zoo_catalog.schema
import zoo_training.schema
from modelzoo.signing import bundle as signing
from modelzoo.signing.keys import new_key
from support.artifact_fake import file_of
from support.artifact_server import artifact_server, manifest_of
from support.catalog_service import CatalogService, running_catalog
from support.job_service import BASE, DATASET, MIGRATIONS, job_service, spec
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
from zoo_training.jobs import NewJob
from zoo_training.requests import Request
from zoo_training.schema import descriptions, pins, publications, sweeps, trainers

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


@asynccontextmanager
async def training(_: Path, url: str) -> AsyncIterator[Running]:
    async with job_service(url) as service:
        # What other parts of the service keep beside jobs.
        time = datetime(2026, 1, 1, tzinfo=UTC)
        described = {"description": {}, "recipes": [], "executors": [], "spec": {}, "choices": {}, "host": ""}
        described |= {"processes": 1}
        named = {"name": "a", "job": "job_0", "resource_class": "cpu", "namespace": "team", "namespace_key": "team"}
        sweep = {
            "method": "GRID",
            "trials": 0,
            "metric": "accuracy",
            "lower_is_better": False,
            "best": "",
            "creator": "",
        }
        pin = {"role": "base", "manifest_digest": "a" * 64, "wanted": True, "alias_etag": ""}
        times = {"seen_time": time, "update_time": time, "create_time": time, "first_time": time}
        row = {**described, **named, **sweep, **pin, **times, "digest": "d" * 64, "descriptions": []}

        async def use() -> None:
            assert await service.reconciler.round()
            new = NewJob(spec(), BASE, DATASET, labels={"kept": "no"})
            job = await service.jobs.create(new, Request("user:ada", "CreateJob", uuid4().hex, {}))
            await service.train()
            await service.reconciler.publish()
            assert (await service.get(job.name)).result
            async with service.database.write() as connection:
                for table in (descriptions, trainers, sweeps, pins, publications):
                    if not await connection.scalar(select(func.count()).select_from(table)):
                        columns = [column.name for column in table.columns if column.name in row]
                        await connection.execute(insert(table).values({name: row[name] for name in columns}))

        yield Running(service.database, use)


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
TRAINING = Service(training, MIGRATIONS, zoo_training.schema.metadata)
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


@pytest.mark.parametrize("service", [CATALOG, ARTIFACT, TRAINING], ids=["catalog", "artifact", "training"])
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
