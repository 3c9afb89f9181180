"""The artifact machine for as long as asked, on SeaweedFS and PostgreSQL through two replicas.

`make soak SECONDS=600 SEED=1`; the same seed draws the same steps. Without SECONDS, what tests/machines runs is enough.
"""

import os
import time

import pytest
from hypothesis import seed, settings
from hypothesis.stateful import run_state_machine_as_test

from machines.test_artifact_machine import REAL
from support.artifact_machine_servers import on_postgresql, on_sqlite
from support.postgresql import PostgresqlServer
from support.servers import S3Server

SECONDS = float(os.environ.get("ZOO_SOAK_SECONDS", "0"))
SEED = int(os.environ.get("ZOO_SOAK_SEED", "1"))
LONG = settings(REAL, max_examples=1, stateful_step_count=50, database=None)

pytestmark = pytest.mark.timeout(2 * SECONDS + 300)


@pytest.mark.parametrize("engine", ["sqlite", "postgresql"])
def test_long_machines_on_real_servers(engine: str, s3_server: S3Server, postgresql_shared: PostgresqlServer) -> None:
    end, runs = time.monotonic() + SECONDS / 2, 0
    while time.monotonic() < end:
        machine = on_sqlite(s3_server) if engine == "sqlite" else on_postgresql(s3_server, postgresql_shared)
        run_state_machine_as_test(seed(SEED * 100_000 + runs)(machine), settings=LONG)
        runs += 1
    print(f"{runs} machines on {engine}, seed {SEED}")
