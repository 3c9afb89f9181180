"""The artifact service, as random callers and sweepers use it, does what a model of a few dictionaries says.

In memory; on SeaweedFS and SQLite; on SeaweedFS and PostgreSQL through two replicas. For longer: tests/soak.
"""

from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import run_state_machine_as_test

from support.artifact_machine import ArtifactMachine
from support.artifact_machine_servers import on_postgresql, on_sqlite
from support.postgresql import PostgresqlServer
from support.servers import S3Server

TestArtifact = ArtifactMachine.TestCase
TestArtifact.settings = settings(
    max_examples=6,
    stateful_step_count=20,
    deadline=None,
    phases=[Phase.explicit, Phase.reuse, Phase.generate],
    suppress_health_check=list(HealthCheck),
)
REAL = settings(TestArtifact.settings, max_examples=2, stateful_step_count=12)


def test_on_seaweedfs_and_sqlite(s3_server: S3Server) -> None:
    run_state_machine_as_test(on_sqlite(s3_server), settings=REAL)


def test_on_seaweedfs_and_postgresql_through_two_replicas(
    s3_server: S3Server, postgresql_shared: PostgresqlServer
) -> None:
    run_state_machine_as_test(on_postgresql(s3_server, postgresql_shared), settings=REAL)
