"""Publishing, moving, quarantining, deleting, undeleting and purging with the process dying before, after, or just
behind every step that another could see.

The drivers are wrapped: each call of the artifact service and each commit is a place to die. The operation runs once to
count its places; then, for each of them, everything is opened anew, the operation dies there, the tables are opened
again as a new process would, the state is checked, and a retry must end as if nothing had happened.
"""

import shutil
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from enum import Enum
from pathlib import Path
from typing import Any, Protocol

import asyncpg
import pytest
from sqlalchemy import select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from modelzoo.manifest import Manifest
from support.artifact_fake import file_of
from support.postgresql import PostgresqlServer
from zoo_catalog.aliases import Aliases, Target
from zoo_catalog.deletion import Deletions
from zoo_catalog.main import MIGRATIONS
from zoo_catalog.models import Models
from zoo_catalog.namespaces import insert_namespace
from zoo_catalog.publish import Publisher
from zoo_catalog.purge import Purger
from zoo_catalog.quarantine import Quarantine
from zoo_catalog.schema import alias_targets, aliases, cards, changes, models, requests, versions
from zoo_catalog.versions import Versions
from zoo_server.principal import Principal, Role
from zoo_store.migration import migrate
from zoo_store.sql import Database, open_database

DIGEST = "a" * 64
DELETED_DIGEST = "d" * 64
# Stands among the pins for a quarantine.
HELD = "quarantined"
DUE = datetime(2000, 1, 1, tzinfo=UTC)
ADMIN = Principal("admin", {"*": Role.ADMIN})
TABLES = (models, versions, cards, aliases, alias_targets, requests, changes)


class Crash(BaseException):
    """The process ends here: nothing catches it."""


class When(Enum):
    BEFORE = "before"
    AFTER = "after"
    REPLY_LOST = "reply lost"


class Places:
    """Counts the calls of drivers, and dies at one of them."""

    def __init__(self, at: int | None = None, when: When = When.BEFORE) -> None:
        self.count = 0
        self._at = at
        self._when = when

    async def pass_by(self, call: Callable[[], Awaitable[Any]]) -> Any:
        mine, self.count = self.count, self.count + 1
        if mine == self._at and self._when is When.BEFORE:
            raise Crash
        answer = await call()
        if mine == self._at and self._when is When.AFTER:
            raise Crash
        if mine == self._at and self._when is When.REPLY_LOST:
            # It was done, and the caller only hears that the connection broke.
            raise ConnectionError
        return answer


class CrashingDatabase:
    """A Database whose transactions die at their beginning, at their commit and, if wanted, at each statement: which
    the engine must roll back whatever the operation is."""

    def __init__(self, database: Database, places: Places, *, at_statements: bool = False) -> None:
        self._database = database
        self._places = places
        self._at_statements = at_statements

    @asynccontextmanager
    async def read(self) -> AsyncIterator[AsyncConnection]:
        await self._places.pass_by(_nothing)
        async with self._database.read() as connection:
            yield connection

    @asynccontextmanager
    async def write(self) -> AsyncIterator[AsyncConnection]:
        transaction = self._database.write()
        connection = await transaction.__aenter__()
        committed = False

        async def commit() -> None:
            nonlocal committed
            await transaction.__aexit__(None, None, None)
            committed = True

        try:
            yield CrashingConnection(connection, self._places) if self._at_statements else connection  # type: ignore[misc]
            await self._places.pass_by(commit)
        except BaseException as error:
            if not committed:
                # What a dead process leaves open, the database rolls back.
                await transaction.__aexit__(type(error), error, error.__traceback__)
            raise


class CrashingConnection:
    def __init__(self, connection: AsyncConnection, places: Places) -> None:
        self._connection = connection
        self._places = places

    async def execute(self, *arguments: Any) -> Any:
        return await self._places.pass_by(lambda: self._connection.execute(*arguments))


class CrashingArtifacts:
    """The artifact service: its pins outlive the catalog's death."""

    def __init__(self, pins: set[tuple[str, str, str]], places: Places) -> None:
        self._pins = pins
        self._places = places

    async def pin(self, namespace: str, manifest_digest: str, holder: str) -> None:
        async def pin() -> None:
            self._pins.add((namespace, manifest_digest, holder))

        await self._places.pass_by(pin)

    async def unpin(self, namespace: str, manifest_digest: str, holder: str) -> None:
        async def unpin() -> None:
            self._pins.discard((namespace, manifest_digest, holder))

        await self._places.pass_by(unpin)

    async def quarantine(self, namespace: str, manifest_digest: str, reason: str) -> None:
        async def quarantine() -> None:
            self._pins.add((namespace, manifest_digest, HELD))

        await self._places.pass_by(quarantine)

    async def manifest(self, namespace: str, manifest_digest: str) -> Manifest:
        async def manifest() -> Manifest:
            return MANIFEST

        return await self._places.pass_by(manifest)

    async def read(self, namespace: str, manifest_digest: str, *_: Any) -> bytes:
        assert (namespace, manifest_digest, "catalog:team/bert") in self._pins, "read before it was pinned"

        async def read() -> bytes:
            return README

        return await self._places.pass_by(read)


README = b"---\nlicense: mit\n---\n# Bert\n"


MANIFEST = Manifest.of("transformers", [file_of("README.md", README)])


async def _nothing() -> None: ...


async def prepare(database: Database) -> None:
    """A model with two versions, an alias and a deleted version, as they are before every operation."""
    await migrate(database, MIGRATIONS)
    async with database.write() as connection:
        await insert_namespace(connection, "team", "", "admin")
    await Models(database).create("team/bert", "", "admin")
    publisher = Publisher(database, CrashingArtifacts(set(), Places()))  # type: ignore[arg-type]
    for _ in range(2):
        await publisher.publish("team/bert", DIGEST, "", "admin")
    await Aliases(database).set("team/bert", "prod", (Target(1, 1),), "", "admin")
    await publisher.publish("team/bert", DELETED_DIGEST, "", "admin")
    await Deletions(database).delete_version("team/bert", 3, "", "admin")


async def contents(database: Database) -> list[Any]:
    async with database.read() as connection:
        return [(await connection.execute(select(table))).all() for table in TABLES]


async def publish(database: Any, pins: set[tuple[str, str, str]], places: Places) -> None:
    publisher = Publisher(database, CrashingArtifacts(pins, places))  # type: ignore[arg-type]
    version = await publisher.publish("team/bert", DIGEST, "source", "admin", request_id="r1")
    assert version.number == 4


async def move(database: Any, pins: set[tuple[str, str, str]], places: Places) -> None:
    await Aliases(database).set("team/bert", "prod", (Target(1, 1), Target(2, 3)), "", "admin")


async def delete(database: Any, pins: set[tuple[str, str, str]], places: Places) -> None:
    await Deletions(database).delete_version("team/bert", 2, "", "admin")


async def undelete(database: Any, pins: set[tuple[str, str, str]], places: Places) -> None:
    await Deletions(database).undelete_version("team/bert", 3, "admin")


async def delete_model(database: Any, pins: set[tuple[str, str, str]], places: Places) -> None:
    await Deletions(database).delete_model("team/bert", "", "admin")


async def hold(database: Any, pins: set[tuple[str, str, str]], places: Places) -> None:
    quarantine = Quarantine(database, CrashingArtifacts(pins, places))  # type: ignore[arg-type]
    assert len(await quarantine.put("team/bert@2", "leaks", "admin")) == 2


def timeless(tables: list[Any]) -> list[Any]:
    """Without what differs from run to run: times and etags."""
    skipped = ("create_time", "update_time", "time", "delete_time", "purge_time", "etag", "sequence")
    return [[{k: v for k, v in row._mapping.items() if k not in skipped} for row in table] for table in tables]


Operation = Callable[[Any, set[tuple[str, str, str]], Places], Awaitable[None]]


def crashing(database: Database, operation: Operation, places: Places) -> CrashingDatabase:
    return CrashingDatabase(database, places, at_statements=operation in (publish, move))


class Copies(Protocol):
    """Databases by name."""

    def url(self, name: str) -> str: ...

    async def copy(self, name: str, to: str) -> None:
        """Of a database that nobody has open."""
        ...

    async def drop(self, name: str) -> None: ...


class SqliteCopies:
    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def url(self, name: str) -> str:
        return f"sqlite:///{self._folder}/{name}/catalog.db"

    async def copy(self, name: str, to: str) -> None:
        shutil.copytree(self._folder / name, self._folder / to)

    async def drop(self, name: str) -> None:
        shutil.rmtree(self._folder / name)


class PostgresqlCopies:
    def __init__(self, server: PostgresqlServer) -> None:
        self._server = server
        self._own = f"sweep_{uuid.uuid4().hex}"

    def url(self, name: str) -> str:
        return self._server.url("zoo", f"{self._own}_{name}")

    async def make(self, name: str) -> None:
        await self._do(f"CREATE DATABASE {self._own}_{name}")

    async def copy(self, name: str, to: str) -> None:
        await self._do(f"CREATE DATABASE {self._own}_{to} TEMPLATE {self._own}_{name}")

    async def drop(self, name: str) -> None:
        await self._do(f"DROP DATABASE {self._own}_{name} WITH (FORCE)")

    async def _do(self, statement: str) -> None:
        connection = await asyncpg.connect(self._server.url("").partition("?")[0])
        try:
            await connection.execute(statement)
        finally:
            await connection.close()


async def sweep(operation: Operation, copies: Copies, whens: Iterable[When], every: int = 1) -> None:
    """Dies at one place of `every`, and at the last."""
    async with open_database(copies.url("prepared")) as database:
        await prepare(database)
    await copies.copy("prepared", "whole")
    async with open_database(copies.url("whole")) as database:
        nothing = timeless(await contents(database))
        whole_places = Places()
        await operation(crashing(database, operation, whole_places), set(), whole_places)
        everything = timeless(await contents(database))
    await copies.drop("whole")
    assert whole_places.count > (5 if operation in (publish, move) else 0)
    for at in range(whole_places.count - 1, -1, -every):
        for when in whens:
            name = f"at_{at}_{when.name.lower()}"
            await copies.copy("prepared", name)
            await die_and_retry(operation, Places(at, when), copies.url(name), nothing, everything)
            await copies.drop(name)
    await copies.drop("prepared")


@asynccontextmanager
async def opened(folder: Path) -> AsyncIterator[Database]:
    async with open_database(f"sqlite:///{folder}/catalog.db") as database:
        yield database


@pytest.mark.parametrize("operation", [publish, move, hold, delete, undelete, delete_model])
async def test_wherever_it_dies_all_of_it_or_nothing_is_there_and_a_retry_ends_it(
    operation: Operation, tmp_path: Path
) -> None:
    await sweep(operation, SqliteCopies(tmp_path), When)


async def test_on_postgresql_too(postgresql_shared: PostgresqlServer) -> None:
    copies = PostgresqlCopies(postgresql_shared)
    await copies.make("prepared")
    # Each copy of a database takes a quarter of a second; statements are gone through one by one above.
    await sweep(publish, copies, [When.REPLY_LOST], every=3)


async def die_and_retry(operation: Operation, places: Places, url: str, nothing: Any, everything: Any) -> None:
    pins: set[tuple[str, str, str]] = set()
    async with open_database(url) as database:
        with pytest.raises((Crash, ConnectionError)):
            await operation(crashing(database, operation, places), pins, places)
    async with open_database(url) as database:
        left = timeless(await contents(database))
        assert left in (nothing, everything), f"half done in {url}"
        if operation is publish and left == everything:
            assert pins, "recorded without a pin"
            assert (await Versions(database).resolve("team/bert", ADMIN)).number == 4
        if operation is hold and left == everything:
            assert ("team", DIGEST, HELD) in pins, "said to be quarantined while the bytes are everybody's"
        await operation(database, pins, Places())
        after = timeless(await contents(database))
        if operation is not move or left == nothing:
            assert after == everything, f"the retry in {url} did not end it"
        else:  # moved twice: the same alias, one more change
            assert after[:-1] == everything[:-1]
        assert pins <= {("team", DIGEST, "catalog:team/bert"), ("team", DIGEST, HELD)}


KEPT = ("team", DIGEST, "catalog:team/bert")
LET_GO = ("team", DELETED_DIGEST, "catalog:team/bert")


async def purged(database: Database) -> tuple[bool, bool]:
    """Of the deleted version: whether it can no longer be undeleted, and whether that was seen to the end."""
    query = select(versions.c.purged, versions.c.released).where(versions.c.version == 3)
    async with database.read() as connection:
        return tuple((await connection.execute(query)).one())


@pytest.mark.parametrize("of_model", [False, True])
async def test_wherever_a_purge_dies_nothing_that_can_come_back_loses_its_bytes_and_the_next_round_ends_it(
    of_model: bool, tmp_path: Path
) -> None:
    async with opened(tmp_path / "prepared") as database:
        await prepare(database)
        if of_model:
            await Deletions(database).delete_model("team/bert", "", "admin")
        async with database.write() as connection:
            await connection.execute(update(models if of_model else versions).values(purge_time=DUE))
            if not of_model:
                await connection.execute(update(versions).where(versions.c.version < 3).values(purge_time=None))
    shutil.copytree(tmp_path / "prepared", tmp_path / "whole")
    async with opened(tmp_path / "whole") as database:
        places = Places()
        await Purger(CrashingDatabase(database, places), CrashingArtifacts({KEPT, LET_GO}, places)).round()  # type: ignore[arg-type]
        everything = timeless(await contents(database))
    assert places.count >= 8
    for at in range(places.count):
        for when in When:
            folder = tmp_path / f"{at} {when.name}"
            shutil.copytree(tmp_path / "prepared", folder)
            await die_purging_and_go_on(Places(at, when), folder, everything, of_model)


async def die_purging_and_go_on(places: Places, folder: Path, everything: Any, of_model: bool) -> None:
    pins = {KEPT, LET_GO}
    async with opened(folder) as database:
        with pytest.raises((Crash, ConnectionError)):
            await Purger(CrashingDatabase(database, places), CrashingArtifacts(pins, places)).round()  # type: ignore[arg-type]
    async with opened(folder) as database:
        is_purged, is_released = await purged(database)
        assert is_purged or LET_GO in pins, f"can be undeleted without its bytes in {folder.name}"
        assert not is_released or LET_GO not in pins, f"pinned for ever in {folder.name}"
        await Purger(database, CrashingArtifacts(pins, Places())).round()  # type: ignore[arg-type]
        assert await purged(database) == (True, True)
        assert pins == (set() if of_model else {KEPT})
        assert timeless(await contents(database)) == everything
