"""Classifying photographs: the zoo, LitServe and no server at all, over the same model, photograph and cores.

All three run the same code over the picture (modelzoo.tasks): decode, resize, ResNet-18. So what differs is serving:
gRPC through Envoy and a picker with authentication here, JSON with base64 to FastAPI there.
"""

import base64
import os
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from importlib import resources
from pathlib import Path

import httpx

from benchmarks.cluster import start_cluster
from benchmarks.report import Table, percentile
from modelzoo.client import Client

__all__ = ["measure"]

CLIENTS = (1, 8)
ROUND_S, ROUNDS = 8.0, 3
MODEL = "bench/resnet18"
READY_S = 120.0
TIMEOUT_S = 120.0
# As the zoo's worker does (docs/adr/0005-a-decode-loop-of-our-own.md): all three compute alike.
ENVIRONMENT = {**os.environ, "OMP_WAIT_POLICY": "PASSIVE"}

Ask = Callable[[], object]


async def measure(*, tiny: bool) -> list[Table]:
    """One table."""
    photograph = (resources.files("sklearn.datasets.images") / "china.jpg").read_bytes()
    round_s, rounds = (0.5, 1) if tiny else (ROUND_S, ROUNDS)
    rows: list[tuple[str, ...]] = []
    with tempfile.TemporaryDirectory(prefix="zoo-bench-model-") as folder:
        model = _make_model(Path(folder))
        alone = _in_process(model, photograph, round_s)
        with start_cluster() as cluster, Client(cluster.url, cluster.key) as zoo, _litserve(model) as url:
            zoo.create_namespace("bench")
            zoo.push(model, MODEL)
            document = {"image": base64.b64encode(photograph).decode()}
            with httpx.Client(base_url=url, timeout=TIMEOUT_S) as http:
                asks: dict[str, Ask] = {
                    "zoo": lambda: zoo.classify_image(MODEL, photograph),
                    "LitServe": lambda: http.post("/predict", json=document).raise_for_status(),
                }
                for ask in asks.values():
                    ask()
                for clients in (1, 2) if tiny else CLIENTS:
                    # In turns, so that whatever else the machine does falls on both.
                    taken = {name: _Taken() for name in asks}
                    for _ in range(rounds):
                        for name, ask in asks.items():
                            taken[name].add(_load(ask, clients, round_s))
                    rows.append(_row(clients, taken["zoo"], taken["LitServe"], alone))
    return [
        Table(
            key="pictures",
            title="Classifying photographs",
            explanation="ResNet-18 over a JPEG of 640 x 427, by PyTorch on two threads; each caller sends the next "
            "picture when the last is answered, callers and servers sharing the cores. Both batch up to 16 pictures "
            "that wait at most 2 ms. The last column is one process that decodes and computes picture after picture "
            "without any server.",
            columns=(
                "callers",
                "zoo pictures/s",
                "p50 / p99 ms",
                "LitServe pictures/s",
                "p50 / p99 ms",
                "ratio",
                "alone",
            ),
            rows=rows,
        )
    ]


class _Taken:
    """Seconds that requests took, and how many were answered a second in each round."""

    def __init__(self) -> None:
        self.seconds: list[float] = []
        self.rates: list[float] = []

    def add(self, answered: tuple[list[float], float]) -> None:
        seconds, lasted = answered
        self.seconds += seconds
        self.rates.append(len(seconds) / lasted)

    @property
    def rate(self) -> float:
        return statistics.median(self.rates)

    def latency_ms(self) -> str:
        return f"{percentile(self.seconds, 50) * 1000:.0f} / {percentile(self.seconds, 99) * 1000:.0f}"


def _row(clients: int, zoo: _Taken, peer: _Taken, alone: float) -> tuple[str, ...]:
    return (
        str(clients),
        f"{zoo.rate:.1f}",
        zoo.latency_ms(),
        f"{peer.rate:.1f}",
        peer.latency_ms(),
        f"{zoo.rate / peer.rate:.2f}",
        f"{alone:.1f}",
    )


def _load(ask: Ask, clients: int, seconds: float) -> tuple[list[float], float]:
    """So many callers for so long: what each request took, and how long it all lasted."""
    started = time.monotonic()
    ends = started + seconds

    def call() -> list[float]:
        taken: list[float] = []
        while (begun := time.monotonic()) < ends:
            ask()
            taken.append(time.monotonic() - begun)
        return taken

    with ThreadPoolExecutor(clients) as threads:
        taken = [one for future in [threads.submit(call) for _ in range(clients)] for one in future.result()]
    return taken, time.monotonic() - started


def _make_model(folder: Path) -> Path:
    import torch
    from transformers import BitImageProcessorPil, ResNetConfig, ResNetForImageClassification

    torch.manual_seed(0)
    config = ResNetConfig(depths=[2, 2, 2, 2], hidden_sizes=[64, 128, 256, 512], layer_type="basic", num_labels=1000)
    ResNetForImageClassification(config).save_pretrained(folder)
    BitImageProcessorPil().save_pretrained(folder)
    return folder


def _in_process(model: Path, photograph: bytes, seconds: float) -> float:
    """Pictures a second, in a process of its own."""
    argv = [sys.executable, "-m", "benchmarks.pictures_alone", str(model), str(seconds)]
    return float(subprocess.run(argv, input=photograph, env=ENVIRONMENT, check=True, stdout=subprocess.PIPE).stdout)


@contextmanager
def _litserve(model: Path) -> Iterator[str]:
    """A LitServe over the model; its address."""
    with socket.create_server(("127.0.0.1", 0)) as found:
        port = found.getsockname()[1]
    argv = [sys.executable, "-m", "benchmarks.litserve_peer", str(model), str(port)]
    # A session of its own, as it has processes of its own that outlive it.
    process = subprocess.Popen(
        argv, env=ENVIRONMENT, start_new_session=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        url = f"http://127.0.0.1:{port}"
        _await_ready(url, process)
        yield url
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _await_ready(url: str, process: "subprocess.Popen[bytes]") -> None:
    deadline = time.monotonic() + READY_S
    while time.monotonic() < deadline and process.poll() is None:
        try:
            if httpx.get(f"{url}/health", timeout=1).status_code == httpx.codes.OK:
                return
        except httpx.TransportError:
            time.sleep(0.1)
    raise RuntimeError("LitServe did not come up")
