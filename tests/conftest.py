"""Fixtures that every tier shares; the servers behind them are in support/servers.py.

What cannot run here stands in not_run_here.toml with its reason: deselected and printed, never silently skipped.
"""

import itertools
import os
import re
import tomllib
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import pytest

from support.postgresql import PostgresqlServer, postgresql_server
from support.servers import RedisServer, S3Server, redis_server, seaweedfs

NOT_RUN_HERE = Path(__file__).with_name("not_run_here.toml")
TEST_BUCKET = "zoo-test"

_database_numbers = itertools.count(1)


@pytest.fixture(scope="session")
def s3_server() -> Iterator[S3Server]:
    """One SeaweedFS for the whole run, started by the first test that asks."""
    with seaweedfs() as server:
        yield server


@pytest.fixture
def s3_url(s3_server: S3Server) -> str:
    """A blobs URL whose key prefix is this test's own; its keys are `s3_server`'s."""
    return f"s3://{TEST_BUCKET}/{uuid.uuid4().hex}?endpoint={s3_server.endpoint}&region=us-east-1"


@pytest.fixture(scope="session")
def redis_shared() -> Iterator[RedisServer]:
    """One Redis for the whole run, started by the first test that asks; nobody kills it."""
    with redis_server() as server:
        yield server


@pytest.fixture
def redis_url(redis_shared: RedisServer) -> str:
    """A Redis URL whose database is this test's own, and empty."""
    return redis_shared.url(next(_database_numbers))


@pytest.fixture(scope="session")
def postgresql_shared() -> Iterator[PostgresqlServer]:
    """One PostgreSQL for the whole run, started by the first test that asks; nobody kills it."""
    with postgresql_server() as server:
        yield server


@pytest.fixture
def postgresql_url(postgresql_shared: PostgresqlServer) -> str:
    """A database URL whose schema is this test's own, and not there yet."""
    return postgresql_shared.url(f"test_{uuid.uuid4().hex}")


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The same test on every engine."""
    if request.param == "postgresql":
        return request.getfixturevalue("postgresql_url")
    return f"sqlite:///{tmp_path}/data/zoo.db"


@dataclass(frozen=True, slots=True)
class NotRunHere:
    """`test` is a node id below tests/, `*` stands for anything; it runs where `unless_env` is set, or `unless_module`
    installed; CI is to have every module."""

    test: str
    reason: str
    unless_env: str = ""
    unless_module: str = ""

    @property
    def holds(self) -> bool:
        if self.unless_module and (os.environ.get("CI") or find_spec(self.unless_module)):
            return False
        return not (self.unless_env and os.environ.get(self.unless_env))

    def holds_for(self, node_id: str) -> bool:
        return bool(re.fullmatch(re.escape(self.test).replace(r"\*", ".*"), node_id))


def _entries() -> list[NotRunHere]:
    """Those that do not run in this environment. UsageError where one names a file that does not exist."""
    entries = [NotRunHere(**entry) for entry in tomllib.loads(NOT_RUN_HERE.read_text()).get("not_run_here", [])]
    for entry in entries:
        if not (NOT_RUN_HERE.parent / entry.test.partition("::")[0]).exists():
            raise pytest.UsageError(f"{NOT_RUN_HERE.name}: {entry.test} names a file that does not exist")
    return [entry for entry in entries if entry.holds]


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    entries = _entries()
    kept: list[pytest.Item] = []
    dropped: list[pytest.Item] = []
    for item in items:
        node_id = item.nodeid.removeprefix("tests/")
        (dropped if any(entry.holds_for(node_id) for entry in entries) else kept).append(item)
    if dropped:
        config.hook.pytest_deselected(items=dropped)
        items[:] = kept


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    entries = _entries()
    if entries:
        terminalreporter.section("not run here")
    for entry in entries:
        terminalreporter.line(f"{entry.test}: {entry.reason}")
