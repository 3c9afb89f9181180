"""The servers that tests stand on end with their test process."""

import os
import subprocess
import sys
from pathlib import Path

from support.servers import redis_server
from support.waiting import eventually

PARENT = """
import os, signal, sys
from support.servers import redis_server
with redis_server() as server:
    print(server.port, server._process.pid, server._folder, flush=True)
    os.kill(os.getpid(), signal.SIGKILL)
"""


async def test_a_server_ends_when_the_test_process_is_killed() -> None:
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])}
    done = subprocess.run([sys.executable, "-c", PARENT], env=environment, capture_output=True, text=True, check=False)
    _, pid, folder = done.stdout.split()

    async def gone() -> bool:
        return not Path(f"/proc/{pid}/exe").exists()

    await eventually(gone)
    for path in Path(folder).iterdir():
        path.unlink()
    Path(folder).rmdir()


def test_a_killed_redis_starts_again_on_its_port() -> None:
    with redis_server() as server:
        port = server.port
        server.kill()
        server.start()
        assert server.port == port
