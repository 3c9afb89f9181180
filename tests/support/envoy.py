"""A real Envoy on free ports."""

import asyncio
import json
import os
import subprocess
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

from support.waiting import eventually


@dataclass(frozen=True, slots=True)
class RunningEnvoy:
    admin: str
    listen: str
    process: subprocess.Popen[bytes]
    log: Path


class Gone:
    """It ended instead of serving."""


@contextmanager
def running_envoy(config: str, folder: Path) -> Iterator[RunningEnvoy]:
    """Envoy with this configuration, whose admin and first listener may have port 0; stopped at the end."""
    binary = str(resources.files("envoy") / "_bin" / "envoy")
    path, admin, log = folder / "envoy.yaml", folder / "admin", folder / "envoy.log"
    path.write_text(config)
    command = [
        binary,
        "-c",
        str(path),
        "--use-dynamic-base-id",
        "--concurrency",
        "1",
        "--admin-address-path",
        str(admin),
    ]
    with log.open("wb") as out:
        process = subprocess.Popen([*command, "--log-level", "warning"], stdout=out, stderr=out, env=dict(os.environ))
    try:
        running = asyncio.run(eventually(lambda: _look(process, admin, log), within_s=20))
        if isinstance(running, Gone):
            raise RuntimeError(f"envoy stopped: {log.read_text()[-4000:]}")
        yield running
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


async def _look(process: subprocess.Popen[bytes], admin_path: Path, log: Path) -> RunningEnvoy | Gone:
    if process.poll() is not None:
        return Gone()
    admin = admin_path.read_text().strip()
    with urllib.request.urlopen(f"http://{admin}/ready", timeout=2):
        pass
    with urllib.request.urlopen(f"http://{admin}/listeners?format=json", timeout=2) as response:
        address = json.load(response)["listener_statuses"][0]["local_address"]["socket_address"]
    return RunningEnvoy(admin, f"{address['address']}:{address['port_value']}", process, log)
