"""The state machine of jobs: on SQLite and a queue in memory, and, in fewer runs, on PostgreSQL and Redis.

`make soak SECONDS=900` runs it for longer, see tests/soak/test_job_soak.py.
"""

import itertools
import uuid

from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import run_state_machine_as_test

from support.job_machine import JobMachine
from support.postgresql import PostgresqlServer
from support.servers import RedisServer

SETTINGS = settings(
    max_examples=15,
    stateful_step_count=30,
    deadline=None,
    suppress_health_check=list(HealthCheck),
    # Without shrinking: every example makes its tables, and minutes of that would end in a timeout without any example.
    phases=(Phase.explicit, Phase.reuse, Phase.generate),
)

# Far from those that the fixtures count up from 1.
_redis_databases = itertools.count(50_000)


def test_jobs_do_what_their_model_says() -> None:
    run_state_machine_as_test(JobMachine, settings=SETTINGS)


def test_jobs_do_what_their_model_says_on_postgresql_and_redis(
    postgresql_shared: PostgresqlServer, redis_shared: RedisServer
) -> None:
    class Machine(JobMachine):
        def database_url(self) -> str:
            return postgresql_shared.url(f"jobs_{uuid.uuid4().hex}")

        def queue_url(self) -> str:
            return redis_shared.url(next(_redis_databases))

    run_state_machine_as_test(Machine, settings=settings(SETTINGS, max_examples=3))
