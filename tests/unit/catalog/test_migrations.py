"""What rows of an older catalog say after its tables were changed, and after they were changed back."""

import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from sqlalchemy import text

from zoo_catalog.main import MIGRATIONS
from zoo_catalog.models import Models
from zoo_catalog.namespaces import Namespaces
from zoo_catalog.versions import Versions
from zoo_server.principal import Principal, Role
from zoo_store.migration import migrate, migrate_back
from zoo_store.sql import Database, open_database

ADMIN = Principal("admin", {"*": Role.ADMIN})
FACTS = {"size_bytes": 5_000_000_000, "labels": [], "task": "fill-mask", "parameters": 7, "architecture": ""}
OLD_ROWS = (
    "INSERT INTO namespaces (key, name, description, create_time) VALUES ('team', 'Team', 'd', 7)",
    "INSERT INTO models (id, key, namespace_key, name, description, task, licence, tags, card, latest_version,"
    " newest_version, etag, create_time, update_time)"
    " VALUES (1, 'team/bert', 'team', 'Team/Bert', '', 'fill-mask', 'mit', '[]', '# Card', 2, 2, 3, 7, 7)",
    "INSERT INTO versions (model_id, version, manifest_digest, state, facts, source, creator, create_time)"
    f" VALUES (1, 2, '{'a' * 64}', 'READY', '{json.dumps(FACTS)}', '', 'ada', 8)",
    "INSERT INTO changes (sequence, time, actor, action, resource)"
    " VALUES (3, 7, 'team:search', 'CreateModel', 'Team/Bert')",
)


@pytest.fixture
async def database(tmp_path: Path) -> AsyncIterator[Database]:
    """A catalog of the first revision."""
    async with open_database(f"sqlite:///{tmp_path}/catalog.db") as database:
        await migrate(database, MIGRATIONS)
        await migrate_back(database, MIGRATIONS, "0001")
        async with database.write() as connection:
            for statement in OLD_ROWS:
                await connection.exec_driver_sql(statement)
        yield database


async def test_old_rows_keep_what_they_say_and_learn_the_rest(database: Database) -> None:
    await migrate(database, MIGRATIONS)
    namespaces = Namespaces(database)
    namespace = await namespaces.get("team")
    assert (namespace.policy.undelete_days, namespace.quota_bytes, namespace.update_time) == (
        30,
        0,
        namespace.create_time,
    )
    assert await namespaces.used_bytes("team") == 5_000_000_000
    model = await Models(database).get("team/bert")
    assert (model.owner, model.gated, model.kind.value, model.card) == ("team:search", False, "MODEL", "# Card")
    version = await Versions(database).resolve("team/bert", ADMIN)
    assert (version.number, version.facts.task, version.labels, version.metrics) == (2, "fill-mask", {}, ())
    async with database.read() as connection:
        assert (await connection.execute(text("SELECT text FROM cards"))).scalar_one() == "# Card"


async def test_old_rows_are_what_they_were_after_the_way_back(database: Database) -> None:
    async def rows() -> list[object]:
        async with database.read() as connection:
            tables = ("namespaces", "models", "versions", "changes")
            return [(await connection.execute(text(f"SELECT * FROM {table}"))).all() for table in tables]

    before = await rows()
    await migrate(database, MIGRATIONS)
    await migrate_back(database, MIGRATIONS, "0001")
    assert await rows() == before
