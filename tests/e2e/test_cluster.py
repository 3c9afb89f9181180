"""`zoo up` and its companions, on clusters of their own; `cluster` is the one that all end-to-end tests share."""

import json
import os
import signal
import subprocess
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from modelzoo.client import Client
from support.cluster import ZOO, Cluster, cluster_environment, zoo
from support.servers import free_ports
from support.waiting import eventually
from zoo_local.layout import Layout
from zoo_local.leftovers import end_leftovers
from zoo_local.processes import CLUSTER_VARIABLE
from zoo_local.state import read_state

pytestmark = pytest.mark.timeout(600)

SERVERS = ["seaweedfs", "redis", "artifact", "catalog", "training", "trainer", "worker", "gateway", "envoy"]
# Beside it gateway and training service stop with the worker, and Redis once all of them have.
STOP_ORDER = ["envoy", "worker", "catalog", "artifact", "seaweedfs"]
RESTART_LIMIT_S = 60.0


@pytest.fixture
def layout(tmp_path: Path) -> Iterator[Layout]:
    """A data folder whose cluster, if the test starts one, is stopped at its end."""
    layout = Layout(tmp_path / "data")
    yield layout
    with suppress(AssertionError):
        zoo("down", "--data", str(layout.root))
    end_leftovers(layout)


def processes_of(layout: Layout) -> list[psutil.Process]:
    """Every process on this machine that belongs to the cluster, by what its environment says, or the state file."""
    state = read_state(layout.state)
    known = {record.pid for record in state.processes} if state else set[int]()
    found: list[psutil.Process] = []
    for process in psutil.process_iter():
        with suppress(psutil.Error, OSError):
            marked = process.environ().get(CLUSTER_VARIABLE) == str(layout.root)
            if process.status() != psutil.STATUS_ZOMBIE and (marked or process.pid in known):
                found.append(process)
    return found


def listening(layout: Layout) -> set[str]:
    """The addresses on which the cluster's processes listen."""
    connections = [c for process in processes_of(layout) for c in process.net_connections("tcp")]
    return {c.laddr.ip.removeprefix("::ffff:") for c in connections if c.status == "LISTEN"}


def test_status_names_every_process_and_says_that_it_serves(cluster: Cluster) -> None:
    report = json.loads(zoo("status", "--json", "--data", str(cluster.layout.root)))
    assert [process["name"] for process in report["processes"]] == SERVERS
    assert {process["state"] for process in report["processes"]} == {"serving"}
    assert all(process["memory_bytes"] > 1_000_000 for process in report["processes"])
    assert (report["serving"], report["url"]) == (True, cluster.url)


def test_env_prints_an_admins_way_in_and_nothing_else(cluster: Cluster) -> None:
    lines = zoo("env", "--data", str(cluster.layout.root)).splitlines()
    assert [line.partition("=")[0] for line in lines] == ["ZOO_URL", "ZOO_KEY"]
    with Client(cluster.url, lines[1].removeprefix("ZOO_KEY=")) as client:
        assert client.whoami().roles["*"] == "ADMIN"  # namespaces that other tests made stand beside it


def test_nothing_listens_beyond_this_machine(cluster: Cluster) -> None:
    assert listening(cluster.layout) == {"127.0.0.1"}


def test_no_secret_stands_in_a_command_line_or_a_file_that_others_can_read(cluster: Cluster) -> None:
    secrets = [p.read_text() for p in cluster.layout.secrets.iterdir() if p.suffix != ".json"]
    commands = "\n".join(" ".join(process.cmdline()) for process in processes_of(cluster.layout))
    assert len(secrets) == 4
    assert not [secret for secret in secrets if secret in commands]
    assert all(folder.stat().st_mode & 0o077 == 0 for folder in (cluster.layout.secrets, cluster.layout.redis))


def test_logs_of_a_process_are_its_own(cluster: Cluster) -> None:
    said = zoo("logs", "gateway", "-n", "1000", "--data", str(cluster.layout.root))
    assert "serving zoo.inference.v1.WorkerService" in said
    assert {line.partition(" ")[0] for line in said.splitlines()} == {"gateway"}


def test_a_second_up_on_the_same_folder_names_the_first(cluster: Cluster) -> None:
    data = ("--data", str(cluster.layout.root))
    before = cluster.state().pid
    assert f"already up at {cluster.url}" in zoo("up", "--detach", *data)
    assert zoo("up", *data) == ""  # what it has to say goes to stderr
    assert cluster.state().pid == before


def test_up_again_on_the_same_folder_has_what_was_there(layout: Layout, tmp_path: Path) -> None:
    folder = ("--data", str(layout.root))
    (tmp_path / "files").mkdir()
    (tmp_path / "files" / "notes.txt").write_bytes(os.urandom(2_000_000))
    zoo("up", "--detach", *folder)
    first = cluster_environment(layout)
    with Client(first["ZOO_URL"], first["ZOO_KEY"]) as client:
        client.create_namespace("kept")
        client.push(tmp_path / "files", "kept/notes")
    assert zoo("down", *folder).strip() == "The zoo is down."
    assert processes_of(layout) == []

    zoo("up", "--detach", *folder)
    assert cluster_environment(layout) == first
    with Client(first["ZOO_URL"], first["ZOO_KEY"]) as client:
        client.download("kept/notes", tmp_path / "back")
    assert (tmp_path / "back" / "notes.txt").read_bytes() == (tmp_path / "files" / "notes.txt").read_bytes()


def test_two_clusters_run_side_by_side_and_do_not_know_each_other(cluster: Cluster, layout: Layout) -> None:
    port = free_ports(1)[0]
    zoo("up", "--detach", "--data", str(layout.root), "--port", str(port))
    other = cluster_environment(layout)
    assert other["ZOO_URL"] == f"http://127.0.0.1:{port}"
    with Client(other["ZOO_URL"], other["ZOO_KEY"]) as client, cluster.client() as first:
        client.create_namespace("only-there")
        assert "only-there" not in {namespace.name for namespace in first.namespaces()}
        assert len(client.workers()) == len(first.workers()) == 1
    zoo("down", "--data", str(layout.root))
    assert processes_of(layout) == []
    assert len(processes_of(cluster.layout)) >= len(SERVERS)


def test_a_supervisor_killed_leaves_no_process(layout: Layout) -> None:
    zoo("up", "--detach", "--data", str(layout.root))
    state = read_state(layout.state)
    assert state is not None
    os.kill(state.pid, signal.SIGKILL)
    psutil.wait_procs(processes_of(layout), timeout=10)
    assert processes_of(layout) == []
    assert "no zoo is up" in failure("status", "--data", str(layout.root), rc=5)


async def test_a_foreground_cluster_drains_on_ctrl_c(layout: Layout) -> None:
    layout.root.mkdir()
    with (layout.root / "out").open("wb") as out:
        process = subprocess.Popen([ZOO, "up", "--data", str(layout.root)], stdout=out, stderr=out)
    said = layout.root / "out"
    await eventually(_holds(lambda: "The zoo is up at http://127.0.0.1:" in said.read_text()), within_s=RESTART_LIMIT_S)
    process.send_signal(signal.SIGINT)
    assert process.wait(60) == 0
    assert processes_of(layout) == []
    ends = [line.split()[0] for line in said.read_text().splitlines() if "-- ended" in line]
    assert [name for name in ends if name not in ("redis", "gateway", "training", "trainer")] == STOP_ORDER
    assert ends.index("trainer") < ends.index("training") < ends.index("catalog")


def test_a_taken_port_is_named(layout: Layout, cluster: Cluster) -> None:
    port = cluster.ports()["envoy"]
    said = failure("up", "--detach", "--data", str(layout.root), "--port", str(port), rc=6)
    assert f"port {port} for envoy is taken" in said


def test_what_is_not_up_can_be_stopped_and_has_no_way_in(layout: Layout) -> None:
    assert "No zoo was up" in zoo("down", "--data", str(layout.root))
    assert "no zoo is up" in failure("env", "--data", str(layout.root), rc=5)


def failure(*arguments: str, rc: int) -> str:
    done = subprocess.run([ZOO, *arguments], capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == rc, done.stderr
    return done.stderr


def _holds(condition: Callable[[], bool]):
    async def probe() -> bool:
        return condition()

    return probe
