"""The catalog as a process of its own: environment, migrations, drain, and what it does not load."""

import importlib.util
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext

from support.catalog_service import CatalogService
from support.waiting import eventually
from zoo.catalog.v1 import catalog_service_pb2 as pb
from zoo.catalog.v1 import catalog_service_pb2_grpc as rpc
from zoo_catalog.main import MIGRATIONS
from zoo_catalog.schema import metadata
from zoo_server.principal import Principal, Role, Signer, TrustedKey, create_signer, save_trust
from zoo_store.migration import migrate_back

SECRET = f"zoo_0123456789abcdef_{'A' * 43}"


@pytest.fixture
def gateway() -> Signer:
    return create_signer("gateway")


@pytest.fixture
def process(tmp_path: Path, gateway: Signer) -> Iterator[subprocess.Popen[bytes]]:
    own = create_signer("catalog")
    own.save(tmp_path / "identity")
    save_trust(tmp_path / "trust", [TrustedKey("gateway", gateway.public_key(), None)])
    (tmp_path / "key").write_text(SECRET + "\n")
    environment = {
        "ZOO_TRUST": tmp_path / "trust",
        "ZOO_IDENTITY": tmp_path / "identity",
        "ZOO_DATABASE_URL": f"sqlite:///{tmp_path}/catalog.db",
        "ZOO_ARTIFACT": "127.0.0.1:1",
        "ZOO_BOOTSTRAP_KEY_FILE": tmp_path / "key",
    }
    with (tmp_path / "log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-c", "from zoo_catalog.main import main; main()"],
            env={**os.environ, **{name: str(value) for name, value in environment.items()}},
            stderr=log,
        )
    yield process
    process.kill()
    process.wait()


async def port(folder: Path) -> int:
    async def logged() -> re.Match[str] | None:
        return re.search(r"on port (\d+)", (folder / "log").read_text())

    return int((await eventually(logged))[1])


async def test_the_process_serves_and_ends_with_its_signal(
    process: subprocess.Popen[bytes], gateway: Signer, tmp_path: Path
) -> None:
    token = gateway.sign(Principal("admin", {"*": Role.ADMIN}))
    async with grpc.aio.insecure_channel(f"127.0.0.1:{await port(tmp_path)}") as channel:
        stub = rpc.CatalogServiceStub(channel)
        response = await stub.GetNamespace(pb.GetNamespaceRequest(name="zoo"), metadata=(("zoo-principal", token),))
    assert response.namespace.name == "zoo"
    process.send_signal(signal.SIGTERM)
    assert process.wait(10) == 0
    assert SECRET[21:] not in (tmp_path / "log").read_text()


def test_the_catalog_loads_no_torch_and_no_object_store() -> None:
    assert importlib.util.find_spec("torch")
    check = "import sys, zoo_catalog.main; print([m for m in ('torch', 'transformers', 'boto3') if m in sys.modules])"
    found = subprocess.run([sys.executable, "-c", check], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"


def is_ours(name: str | None, kind: str, _: object) -> bool:
    """What a full-text index keeps beside its table is the engine's."""
    return not (kind == "table" and (name or "").startswith("models_text"))


async def test_the_migrations_make_the_tables_that_the_code_expects(zoo: CatalogService) -> None:
    async with zoo.database.read() as connection:
        differences = await connection.run_sync(
            lambda sync: compare_metadata(MigrationContext.configure(sync, opts={"include_name": is_ours}), metadata)
        )
    assert differences == []


async def test_the_migrations_go_back_to_nothing(zoo: CatalogService) -> None:
    await migrate_back(zoo.database, MIGRATIONS, "base")
