"""The servers that tests stand on end with their test process."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from support.servers import redis_server
from support.waiting import eventually

PARENT = """
import os, signal, sys
from support.postgresql import postgresql_server
from support.servers import redis_server
with globals()[sys.argv[1]]() as server:
    print(server.port, server._process.pid, server._folder, flush=True)
    os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.parametrize("server", ["redis_server", "postgresql_server"])
async def test_a_server_ends_when_the_test_process_is_killed(server: str) -> None:
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])}
    command = [sys.executable, "-c", PARENT, server]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    _, pid, folder = done.stdout.split()

    async def gone() -> bool:
        return not Path(f"/proc/{pid}/exe").exists()

    await eventually(gone)

    async def removed() -> bool:
        shutil.rmtree(folder)  # fails while one of its children still writes there
        return True

    await eventually(removed)


def test_a_killed_redis_starts_again_on_its_port() -> None:
    with redis_server() as server:
        port = server.port
        server.kill()
        server.start()
        assert server.port == port
