"""From CreateJob to a trainer that holds the lease: idle, beside queues without a database, and before a long queue."""

import asyncio
import math
import random
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import grpc

from benchmarks.cluster import Cluster, start_cluster
from benchmarks.leasing_agent import RECIPE, RESOURCE_CLASS, open_agent
from benchmarks.made_up import TINY_BERT, made_up_texts, write_encoder, write_rows
from benchmarks.queue_peers import PEERS, peer_latencies_ms
from benchmarks.report import Table, percentile
from modelzoo.client import Client
from zoo.training.v1 import job_pb2
from zoo.training.v1 import training_service_pb2 as pb
from zoo.training.v1 import training_service_pb2_grpc as rpc
from zoo_server.credentials import make_credentials
from zoo_server.peers import open_peer
from zoo_server.principal import Principal, Role, Signer

__all__ = ["measure"]

JOBS = 200
PAUSE_S = (0.02, 0.06)
QUEUED = (10, 10_000)
AHEAD = 200
AT_ONCE = 8
URGENT = 10
CALL_S = 60.0
TOKEN_S = 30.0  # a token is good for a minute
SPEC = job_pb2.JobSpec(
    base="bench/encoder", dataset="bench/texts", output="bench/made", recipe=RECIPE, resource_class=RESOURCE_CLASS
)


async def measure(*, tiny: bool) -> list[Table]:
    """Two tables; the peers are left out of a tiny run, as their environment takes a while to make."""
    with start_cluster() as cluster:
        await asyncio.to_thread(_publish, cluster)
        idle = await _idle(cluster, 5 if tiny else JOBS, peers=not tiny)
        ahead = await _ahead(cluster, (2, 20) if tiny else QUEUED, 5 if tiny else AHEAD)
    return [idle, ahead]


def _publish(cluster: Cluster) -> None:
    with tempfile.TemporaryDirectory() as folder, Client(cluster.url, cluster.key) as zoo:
        encoder = write_encoder(Path(folder) / "encoder", TINY_BERT)
        texts = write_rows(Path(folder) / "texts", train=made_up_texts(64, 8, 0), test=made_up_texts(16, 8, 1))
        zoo.push(encoder, SPEC.base, create_namespace=True)
        zoo.push(texts, SPEC.dataset, format="dataset")


async def _idle(cluster: Cluster, jobs: int, *, peers: bool) -> Table:
    taken: dict[str, list[float]] = {}
    async with _waiting_agent(cluster) as agent:
        async with _as_admin(cluster) as training:
            taken["zoo, its training service"] = await _alternately(training, agent, jobs)
        async with grpc.aio.insecure_channel(cluster.address) as channel:
            taken["zoo, through its gateway"] = await _alternately(
                rpc.TrainingServiceStub(channel), agent, jobs, (("authorization", f"Bearer {cluster.key}"),)
            )
    if peers:
        for peer, version in PEERS.items():
            latencies = await asyncio.to_thread(peer_latencies_ms, peer, cluster.redis_url, jobs)
            taken[f"{peer} {version}"] = latencies
    return Table(
        key="jobs-idle",
        title="From a job to its trainer",
        explanation=f"One job after the other while a worker waits, {jobs} each, all on the same Redis. Of the zoo: "
        "from the call of CreateJob, which has checked base, dataset and parameters, pinned both and written the job "
        "to SQLite when it answers, until an agent in another process holds the lease, also written, by LeaseJob's "
        "long poll. To reach: 15 / 50 ms. Of the others, as they come: from the call that puts a job into Redis to the "
        "first line of its function in a worker; nothing is written to a disk that outlives Redis. arq looks into "
        "Redis twice a second.",
        columns=("queue", "p50 ms", "p99 ms"),
        rows=[(name, f"{percentile(ms, 50):.1f}", f"{percentile(ms, 99):.1f}") for name, ms in taken.items()],
    )


async def _ahead(cluster: Cluster, sizes: tuple[int, ...], jobs: int) -> Table:
    """With so many jobs of the same namespace and class queued, one that is urgent, and a trainer that asks at once."""
    taken: dict[int, list[float]] = {}
    identity = make_credentials(cluster.layout.secrets).identities["trainer"]
    queued = 0
    async with (
        _as_admin(cluster) as training,
        open_agent(f"127.0.0.1:{cluster.ports()['training']}", identity, "asking-agent") as agent,
    ):
        for size in sizes:
            await _queue(training, size - queued)
            queued = size
            taken[size] = []
            for _ in range(jobs):
                begun = time.monotonic()
                created = (await training.CreateJob(_create(URGENT), timeout=CALL_S)).job
                lease = await agent.lease()
                taken[size].append((time.monotonic() - begun) * 1000)
                assert lease is not None
                assert lease.job.name == created.name
                await agent.finish(lease)
                await asyncio.sleep(random.uniform(*PAUSE_S))
    few = percentile(taken[sizes[0]], 50)
    rows = [
        (f"{size:,}", f"{percentile(ms, 50):.1f}", f"{percentile(ms, 99):.1f}", f"{percentile(ms, 50) / few:.2f}")
        for size, ms in taken.items()
    ]
    return Table(
        key="jobs-queued",
        title="A job before a long queue",
        explanation=f"CreateJob of an urgent job, then LeaseJob, which gives that one, {jobs} times; so many other "
        "jobs of the same namespace and class are queued behind it all the time. To reach: 1.5 times as long at most.",
        columns=("jobs queued", "p50 ms", "p99 ms", "times the shortest"),
        rows=rows,
    )


class _WaitingAgent:
    """Leases whatever comes, in a process of its own."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    async def read(self, expected: str) -> str:
        assert self._process.stdout is not None
        line = (await asyncio.wait_for(self._process.stdout.readline(), CALL_S)).decode().strip()
        if not line.startswith(expected):
            raise RuntimeError(f"the agent said {line!r} and not {expected!r}")
        return line.removeprefix(expected).strip()

    async def leased_ms(self, job: str, begun_ns: int) -> float:
        """From then until it held the job's lease; it waits for another one by now."""
        held_ns = int(await self.read(job))
        await self.read(f"finished {job}")
        await asyncio.sleep(random.uniform(*PAUSE_S))
        return (held_ns - begun_ns) / 1e6


@asynccontextmanager
async def _waiting_agent(cluster: Cluster) -> AsyncIterator[_WaitingAgent]:
    identity = make_credentials(cluster.layout.secrets).identities["trainer"]
    argv = ("-m", "benchmarks.leasing_agent", f"127.0.0.1:{cluster.ports()['training']}", str(identity))
    process = await asyncio.create_subprocess_exec(sys.executable, *argv, stdout=asyncio.subprocess.PIPE)
    try:
        agent = _WaitingAgent(process)
        await agent.read("ready")
        yield agent
    finally:
        process.kill()
        await process.wait()


class _Admin:
    """Signs as the gateway does for an admin's key."""

    def __init__(self, gateway: Signer) -> None:
        self._gateway = gateway
        self._token, self._signed_at = "", -math.inf

    def own_token(self) -> str:
        if time.monotonic() - self._signed_at > TOKEN_S:
            self._token = self._gateway.sign(Principal("bench", {"*": Role.ADMIN}))
            self._signed_at = time.monotonic()
        return self._token


@asynccontextmanager
async def _as_admin(cluster: Cluster) -> "AsyncIterator[rpc.TrainingServiceAsyncStub]":
    signer = _Admin(Signer.load(make_credentials(cluster.layout.secrets).identities["gateway"]))
    async with open_peer(f"127.0.0.1:{cluster.ports()['training']}", signer) as channel:  # type: ignore[arg-type]
        yield rpc.TrainingServiceStub(channel)


async def _alternately(
    training: "rpc.TrainingServiceAsyncStub",
    agent: _WaitingAgent,
    jobs: int,
    metadata: Sequence[tuple[str, str]] | None = None,
) -> list[float]:
    taken: list[float] = []
    for _ in range(jobs):
        begun_ns = time.monotonic_ns()
        created = await training.CreateJob(_create(), timeout=CALL_S, metadata=metadata)
        taken.append(await agent.leased_ms(created.job.name, begun_ns))
    return taken


async def _queue(training: "rpc.TrainingServiceAsyncStub", jobs: int) -> None:
    free = asyncio.Semaphore(AT_ONCE)

    async def create() -> None:
        async with free:
            await training.CreateJob(_create(), timeout=CALL_S)

    await asyncio.gather(*(create() for _ in range(jobs)))


def _create(priority: int = 0) -> pb.CreateJobRequest:
    return pb.CreateJobRequest(job=job_pb2.Job(spec=SPEC, priority=priority))
