"""The cluster that end-to-end tests share."""

from collections.abc import Iterator

import pytest

from support.cluster import Cluster, running_cluster, zoo


@pytest.fixture(scope="session")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """One cluster for the whole run, started by the first test that asks. Tests use namespaces of their own."""
    with running_cluster(tmp_path_factory.mktemp("cluster")) as cluster:
        yield cluster


@pytest.fixture(scope="session")
def starters(cluster: Cluster) -> Cluster:
    """The same, with the starter models published."""
    zoo("--url", cluster.url, "--key", cluster.admin_key, "starters", "publish")
    return cluster
