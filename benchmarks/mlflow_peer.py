"""MLflow's model registry in an environment of its own, made when it is first asked for.

python -m benchmarks.mlflow_peer URL CLIENTS SECONDS    the caller; prints figures as JSON
"""

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

import httpx

from benchmarks.catalog_process import Taken
from benchmarks.report import percentile
from zoo_local.ports import choose_ports

__all__ = ["MLflow", "running_mlflow"]

VERSION = "3.17.2"
ENVIRONMENT = Path(__file__).resolve().parent.parent / ".run" / "peers" / f"mlflow-{VERSION}"
READY_S = 120.0
API = "/api/2.0/mlflow"
MODEL, ALIAS = "model-0", "prod"


@dataclass(frozen=True, slots=True)
class MLflow:
    url: str

    def load(self, clients: int, seconds: float) -> Taken:
        """As `Catalog.load`, of the registry's version by alias."""
        argv = [sys.executable, "-m", "benchmarks.mlflow_peer", self.url, str(clients), str(seconds)]
        return Taken(**json.loads(subprocess.run(argv, check=True, stdout=subprocess.PIPE).stdout))


@contextmanager
def running_mlflow(folder: Path) -> Iterator[MLflow]:
    """A server on SQLite with one model of ten versions and an alias."""
    _make_environment()
    folder.mkdir(exist_ok=True)
    port = choose_ports(folder / "ports.json", ["mlflow"], {})["mlflow"]
    argv = [str(ENVIRONMENT / "bin" / "mlflow"), "server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    argv += [
        "--backend-store-uri",
        f"sqlite:///{folder}/mlflow.db",
        "--artifacts-destination",
        str(folder / "artifacts"),
    ]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            argv, stdout=log, stderr=log, start_new_session=True, env={**os.environ, "MLFLOW_DISABLE_TELEMETRY": "true"}
        )
    try:
        url = f"http://127.0.0.1:{port}"
        _wait_until_ready(url, process)
        with httpx.Client(base_url=url + API, timeout=30) as http:
            _post(http, "/registered-models/create", name=MODEL)
            for _ in range(10):
                _post(http, "/model-versions/create", name=MODEL, source="s3://bucket/model")
            _post(http, "/registered-models/alias", name=MODEL, alias=ALIAS, version="9")
        yield MLflow(url)
    finally:
        os.killpg(process.pid, 15)
        process.wait()


def _make_environment() -> None:
    if (ENVIRONMENT / "bin" / "mlflow").exists():
        return
    subprocess.run([sys.executable, "-m", "venv", str(ENVIRONMENT)], check=True)
    pip = [str(ENVIRONMENT / "bin" / "pip"), "install", "-q", f"mlflow=={VERSION}"]
    subprocess.run(pip, check=True, env={name: value for name, value in os.environ.items() if name != "PIP_CONSTRAINT"})


def _wait_until_ready(url: str, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + READY_S
    while time.monotonic() < deadline and process.poll() is None:
        try:
            httpx.get(f"{url}/health", timeout=5).raise_for_status()
        except httpx.HTTPError:
            time.sleep(0.2)
        else:
            return
    raise RuntimeError("MLflow did not come up")


def _post(http: httpx.Client, path: str, **fields: str) -> None:
    http.post(path, json=fields).raise_for_status()


def _load(url: str, clients: int, seconds: float) -> Taken:
    started = time.monotonic()
    ends = started + seconds
    query = {"name": MODEL, "alias": ALIAS}

    def call() -> list[float]:
        taken: list[float] = []
        with httpx.Client(base_url=url + API, timeout=60) as http:
            http.get("/registered-models/alias", params=query).raise_for_status()
            while (begun := time.monotonic()) < ends:
                http.get("/registered-models/alias", params=query).raise_for_status()
                taken.append(time.monotonic() - begun)
        return taken

    with ThreadPoolExecutor(clients) as threads:
        times = [one for future in [threads.submit(call) for _ in range(clients)] for one in future.result()]
    lasted = time.monotonic() - started
    return Taken(len(times) / lasted, percentile(times, 50) * 1000, percentile(times, 99) * 1000)


if __name__ == "__main__":
    url, clients, seconds = sys.argv[1:]
    print(json.dumps(asdict(_load(url, int(clients), float(seconds)))))
