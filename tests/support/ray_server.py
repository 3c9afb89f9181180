"""A Ray cluster of this machine alone, for the length of a block: no dashboard, nothing told to anybody."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from support.servers import ServerProcess, free_ports

__all__ = ["ray_cluster"]

START_S = 120.0
PORTS = ("port", "ray-client-server-port", "dashboard-port", "dashboard-agent-listen-port", "node-manager-port")
STORE_BYTES = 80_000_000  # about the least that it takes


@contextmanager
def ray_cluster(folder: Path, cpus: int = 2) -> Iterator[str]:
    """Its address. `folder` has to be a short one: sockets lie in it."""
    ports = dict(zip(PORTS, free_ports(len(PORTS)), strict=True))
    env = {
        "RAY_USAGE_STATS_ENABLED": "0",
        # Its processes are forks of one that has imported Ray: what else they need, they find as this process does.
        "PYTHONPATH": os.pathsep.join(path for path in sys.path if path),
    }
    command = [
        *(sys.executable, "-m", "ray.scripts.scripts", "start", "--head", "--block", "--disable-usage-stats"),
        *("--node-ip-address=127.0.0.1", f"--num-cpus={cpus}", "--include-dashboard=false"),
        *("--min-worker-port=0", "--max-worker-port=0", *(f"--{name}={port}" for name, port in ports.items())),
        *(f"--object-store-memory={STORE_BYTES}", f"--temp-dir={folder}"),
    ]
    process = ServerProcess(command, folder / "ray.log", env)
    try:
        process.wait_until(lambda: "Ray runtime started" in process.log.read_text(), START_S)
        yield f"127.0.0.1:{ports['port']}"
    finally:
        process.kill()
