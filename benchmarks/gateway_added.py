"""What the gateway adds: to each streamed message, and to each unary call, against calling the worker directly.

One paced worker behind both ways, rounds in turn (direct, gateway, direct, ...), so that a slow moment of the machine
hits both. Time is from the worker's sending to the caller's receiving; CPU is that of Envoy and the gateway process.
"""

import asyncio
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import AsyncExitStack, contextmanager
from dataclasses import dataclass

import grpc
import psutil

from benchmarks.cluster import Cluster, start_cluster
from benchmarks.paced_worker import MODEL, PACE_TEXT
from benchmarks.report import Table, percentile
from zoo.inference.v1 import generation_pb2
from zoo.inference.v1 import inference_service_pb2 as pb
from zoo.inference.v1 import inference_service_pb2_grpc as rpc

__all__ = ["measure"]

ROUNDS = 3
STREAMS_PER_CHANNEL = 50
READY_S = 20.0


@dataclass(frozen=True, slots=True)
class Load:
    """`streams` at once, a message every `interval_ms` on each, `messages` on each."""

    streams: int
    interval_ms: int
    messages: int


LOADS = (Load(1, 20, 200), Load(32, 50, 80), Load(300, 300, 15))
UNARY_CALLS = 300


@dataclass(frozen=True, slots=True)
class Way:
    """An address and the metadata that it wants."""

    address: str
    metadata: tuple[tuple[str, str], ...]


async def measure(*, tiny: bool) -> list[Table]:
    loads = (Load(2, 5, 5),) if tiny else LOADS
    rounds, calls = (1, 5) if tiny else (ROUNDS, UNARY_CALLS)
    with start_cluster() as cluster, paced_worker(cluster) as worker:
        direct = Way(worker, ())
        gateway = Way(cluster.address, (("authorization", f"Bearer {cluster.key}"), ("zoo-model", MODEL)))
        await ready(gateway)
        processes = [psutil.Process(cluster.pid(name)) for name in ("envoy", "gateway")]
        rows = [await streamed(load, direct, gateway, processes, rounds) for load in loads]
        unary_row = await unary(direct, gateway, rounds, calls)
    return [
        Table(
            "gateway-streams",
            "What the gateway adds to a streamed message",
            "Medians over rounds; microseconds from send to receive, worker and caller being processes of their own. "
            "All streams beat together, so that with many of them most of it is waiting for one another, either way; "
            "the first row is what a message pays. CPU is that of Envoy and the gateway process.",
            (
                "streams",
                "messages/s",
                "direct p50 / p99 µs",
                "gateway p50 / p99 µs",
                "added p50 µs",
                "CPU µs a message",
            ),
            rows,
        ),
        Table(
            "gateway-unary",
            "What the gateway adds to a unary call",
            "One caller, one call after the other; the call does nothing.",
            ("direct p50 / p99 µs", "gateway p50 / p99 µs", "added p50 µs"),
            [unary_row],
        ),
    ]


async def streamed(
    load: Load, direct: Way, gateway: Way, processes: Sequence[psutil.Process], rounds: int
) -> Sequence[str]:
    seen: dict[Way, list[list[float]]] = {direct: [], gateway: []}
    cpu_us: list[float] = []
    for _ in range(rounds):
        seen[direct].append(await stream_round(load, direct))
        before = cpu_seconds(processes)
        seen[gateway].append(await stream_round(load, gateway))
        cpu_us.append((cpu_seconds(processes) - before) * 1e6 / (load.streams * load.messages))
    medians = {
        way: [statistics.median(p) for p in zip(*map(summary, latencies), strict=True)]
        for way, latencies in seen.items()
    }
    rate = load.streams * 1000 / load.interval_ms
    added = medians[gateway][0] - medians[direct][0]
    both = [f"{medians[way][0]:.0f} / {medians[way][1]:.0f}" for way in (direct, gateway)]
    return (str(load.streams), f"{rate:.0f}", *both, f"{added:.0f}", f"{statistics.median(cpu_us):.0f}")


async def stream_round(load: Load, way: Way) -> list[float]:
    """Microseconds from send to receive of every message."""
    latencies: list[float] = []
    request = pb.StreamGenerateRequest(
        model=MODEL,
        input=generation_pb2.GenerationInput(
            text=PACE_TEXT.format(interval_ms=load.interval_ms), max_tokens=load.messages
        ),
    )

    async def one(stub: "rpc.InferenceServiceAsyncStub") -> None:
        async for response in stub.StreamGenerate(request, metadata=way.metadata, timeout=120):
            if response.text:
                latencies.append((time.monotonic_ns() - int(response.text)) / 1000)

    async with AsyncExitStack() as stack:
        stubs: list[rpc.InferenceServiceAsyncStub] = []
        for _ in range(-(-load.streams // STREAMS_PER_CHANNEL)):
            # Without options of its own each channel would share one connection.
            options = (("grpc.use_local_subchannel_pool", 1),)
            channel = await stack.enter_async_context(grpc.aio.insecure_channel(way.address, options=options))
            stubs.append(rpc.InferenceServiceStub(channel))
        async with asyncio.TaskGroup() as group:
            for index in range(load.streams):
                group.create_task(one(stubs[index % len(stubs)]))
    return latencies


async def unary(direct: Way, gateway: Way, rounds: int, calls: int) -> Sequence[str]:
    seen: dict[Way, list[float]] = {direct: [], gateway: []}
    for _ in range(rounds):
        for way, latencies in seen.items():
            latencies += await unary_round(way, calls)
    direct_us, gateway_us = summary(seen[direct]), summary(seen[gateway])
    both = [f"{p50:.0f} / {p99:.0f}" for p50, p99 in (direct_us, gateway_us)]
    return (*both, f"{gateway_us[0] - direct_us[0]:.0f}")


async def unary_round(way: Way, calls: int) -> list[float]:
    async with grpc.aio.insecure_channel(way.address) as channel:
        stub: rpc.InferenceServiceAsyncStub = rpc.InferenceServiceStub(channel)
        request = pb.EmbedRequest(model=MODEL, texts=["hello"])
        await stub.Embed(request, metadata=way.metadata, wait_for_ready=True, timeout=30)
        latencies: list[float] = []
        for _ in range(calls):
            started = time.perf_counter()
            await stub.Embed(request, metadata=way.metadata, timeout=30)
            latencies.append((time.perf_counter() - started) * 1e6)
        return latencies


async def ready(gateway: Way) -> None:
    """Return once calls reach the paced worker."""
    deadline = time.monotonic() + READY_S
    while True:
        try:
            await stream_round(Load(1, 1, 1), gateway)
        except* grpc.RpcError:
            if time.monotonic() > deadline:
                raise
            await asyncio.sleep(0.2)
        else:
            return


def summary(latencies: Sequence[float]) -> tuple[float, float]:
    return percentile(latencies, 50), percentile(latencies, 99)


def cpu_seconds(processes: Sequence[psutil.Process]) -> float:
    return sum(times.user + times.system for times in (process.cpu_times() for process in processes))


@contextmanager
def paced_worker(cluster: Cluster):
    """The address of a paced worker that has announced itself to the cluster."""
    process = subprocess.Popen(
        [sys.executable, "-m", "benchmarks.paced_worker"],
        env={**os.environ, "ZOO_REDIS_URL": cluster.redis_url},
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    try:
        yield process.stdout.readline().strip()
    finally:
        process.terminate()
        process.wait()
        process.stdout.close()
