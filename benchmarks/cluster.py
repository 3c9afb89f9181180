"""A cluster of its own for a benchmark: brought up on an empty folder, taken down and deleted afterwards."""

import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from zoo_local.layout import Layout
from zoo_local.state import read_state
from zoo_server.credentials import make_credentials

__all__ = ["Cluster", "start_cluster"]

ZOO = str(Path(sys.executable).with_name("zoo"))


@dataclass(frozen=True, slots=True)
class Cluster:
    """Where it is and how to get in."""

    url: str
    key: str
    layout: Layout

    @property
    def address(self) -> str:
        return self.url.removeprefix("http://")

    @property
    def redis_url(self) -> str:
        password = make_credentials(self.layout.secrets).redis_password
        return f"redis://:{password}@127.0.0.1:{self.ports()['redis']}/0"

    @property
    def s3_keys(self) -> tuple[str, str]:
        credentials = make_credentials(self.layout.secrets)
        return credentials.s3_access_key, credentials.s3_secret_key

    def ports(self) -> dict[str, int]:
        return json.loads(self.layout.ports.read_text())

    def pid(self, process: str) -> int:
        state = read_state(self.layout.state)
        assert state is not None
        return next(record.pid for record in state.processes if record.name == process)


@contextmanager
def start_cluster() -> Iterator[Cluster]:
    with tempfile.TemporaryDirectory(prefix="zoo-bench-") as folder:
        data = ("--data", folder)
        subprocess.run([ZOO, "up", "--detach", *data], check=True)
        try:
            printed = subprocess.run([ZOO, "env", *data], check=True, capture_output=True, text=True).stdout
            settings = dict(line.split("=", 1) for line in printed.splitlines())
            yield Cluster(settings["ZOO_URL"], settings["ZOO_KEY"], Layout(Path(folder)))
        finally:
            subprocess.run([ZOO, "down", *data], check=True)
