"""The process `zoo-envoy`: it renders, starts and drains a real Envoy."""

import asyncio
import os
import signal
import socket
import subprocess
import sys
import urllib.request
from importlib import resources
from pathlib import Path

from support.waiting import eventually


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as found:
        return found.getsockname()[1]


async def test_envoy_serves_with_a_rendered_configuration_and_ends_at_a_signal(tmp_path: Path) -> None:
    admin = free_port()
    settings = {
        "ZOO_BINARY": str(resources.files("envoy") / "_bin" / "envoy"),
        "ZOO_CONFIG_DIR": str(tmp_path),
        "ZOO_ENDPOINTS_DIR": str(tmp_path),
        "ZOO_LISTEN": f"127.0.0.1:{free_port()}",
        "ZOO_ADMIN": f"127.0.0.1:{admin}",
        "ZOO_CATALOG": "127.0.0.1:1",
        "ZOO_ARTIFACT": "127.0.0.1:1",
        "ZOO_DRAIN_S": "5",
    }
    argv = [sys.executable, "-m", "zoo_gateway.envoy_process"]
    with (tmp_path / "log").open("wb") as log:
        process = subprocess.Popen(argv, env={**os.environ, **settings}, stdout=log, stderr=log)
    try:
        await eventually(lambda: ready_or_gone(process, admin), within_s=30)
        assert process.poll() is None, (tmp_path / "log").read_text()[-2000:]
        assert (tmp_path / "workers.json").exists()
        process.send_signal(signal.SIGTERM)
        assert await asyncio.to_thread(process.wait, 20) == 0
        assert not ready(admin)
    finally:
        process.kill()


async def ready_or_gone(process: "subprocess.Popen[bytes]", admin: int) -> bool:
    return process.poll() is not None or await asyncio.to_thread(ready, admin)


def ready(admin: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{admin}/ready", timeout=2) as answer:
            return answer.status == 200
    except OSError:
        return False
