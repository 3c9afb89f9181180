"""A catalog as a process of its own on a database that was filled beforehand, and a caller that hammers it.

python -m benchmarks.catalog_process ADDRESS IDENTITY CALL CLIENTS SECONDS    the caller; prints figures as JSON
"""

import asyncio
import json
import os
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

import grpc

from benchmarks.report import percentile
from zoo.catalog.v1 import catalog_service_pb2 as pb
from zoo.catalog.v1 import catalog_service_pb2_grpc as rpc
from zoo.iam.v1 import iam_service_pb2, iam_service_pb2_grpc
from zoo_local.ports import choose_ports
from zoo_server.credentials import make_credentials
from zoo_server.peers import open_peer
from zoo_server.principal import Principal, Role, Signer

__all__ = ["Catalog", "Taken", "running_catalog"]

READY_S = 60.0


@dataclass(frozen=True, slots=True)
class Taken:
    """Calls answered a second, and percentiles of what each took, in milliseconds."""

    rate: float
    p50_ms: float
    p99_ms: float


@dataclass(frozen=True, slots=True)
class Catalog:
    address: str
    identity: Path

    def load(self, call: str, clients: int, seconds: float) -> Taken:
        """So many clients, each with a connection of its own, calling one after the other for so long.

        `call` is `empty`, or JSON of a GetVersionRequest or ListModelsRequest: `get {...}`, `list {...}`.
        """
        argv = [self.address, str(self.identity), call, str(clients), str(seconds)]
        done = subprocess.run(
            [sys.executable, "-m", "benchmarks.catalog_process", *argv], check=True, stdout=subprocess.PIPE
        )
        return Taken(**json.loads(done.stdout))


@contextmanager
def running_catalog(folder: Path, database: Path) -> Iterator[Catalog]:
    """`zoo-catalog` on the SQLite file, ready to serve; its secrets lie in `folder`."""
    folder.mkdir(exist_ok=True)
    credentials = make_credentials(folder)
    port = choose_ports(folder / "ports.json", ["catalog"], {})["catalog"]
    environment = {
        **os.environ,
        "ZOO_LISTEN": f"127.0.0.1:{port}",
        "ZOO_TRUST": str(credentials.trust),
        "ZOO_IDENTITY": str(credentials.identities["catalog"]),
        "ZOO_DATABASE_URL": f"sqlite:///{database}",
        "ZOO_ARTIFACT": "127.0.0.1:9",
        "ZOO_LOG_LEVEL": "WARNING",
    }
    process = subprocess.Popen([str(Path(sys.executable).with_name("zoo-catalog"))], env=environment)
    try:
        with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
            grpc.channel_ready_future(channel).result(READY_S)
        yield Catalog(f"127.0.0.1:{port}", credentials.identities["gateway"])
    finally:
        process.terminate()
        process.wait()


class _Admin:
    """Signs as the gateway does for an admin's key."""

    def __init__(self, gateway: Signer) -> None:
        self._token = gateway.sign(Principal("bench", {"*": Role.ADMIN}))

    def own_token(self) -> str:
        return self._token


@asynccontextmanager
async def _caller(address: str, signer: _Admin, call: str) -> AsyncIterator[Callable[[], Awaitable[object]]]:
    async with open_peer(address, signer) as channel:  # type: ignore[arg-type]
        kind, _, fields = call.partition(" ")
        catalog = rpc.CatalogServiceStub(channel)
        if kind == "get":
            request = pb.GetVersionRequest(**json.loads(fields))
            yield lambda: catalog.GetVersion(request)
        elif kind == "list":
            asked = pb.ListModelsRequest(**json.loads(fields))
            yield lambda: catalog.ListModels(asked)
        else:
            stub = iam_service_pb2_grpc.IamServiceStub(channel)
            yield lambda: stub.GetPrincipal(iam_service_pb2.GetPrincipalRequest())


async def _load(address: str, identity: Path, call: str, clients: int, seconds: float) -> Taken:
    signer = _Admin(Signer.load(identity))
    async with AsyncExitStack() as stack:
        calls = [await stack.enter_async_context(_caller(address, signer, call)) for _ in range(clients)]
        for warm in calls:
            await warm()
        started = time.monotonic()
        taken = await asyncio.gather(*(_repeat(one, started + seconds) for one in calls))
        lasted = time.monotonic() - started
    times = [each for one in taken for each in one]
    return Taken(len(times) / lasted, percentile(times, 50) * 1000, percentile(times, 99) * 1000)


async def _repeat(call: Callable[[], Awaitable[object]], ends: float) -> list[float]:
    taken: list[float] = []
    while (begun := time.monotonic()) < ends:
        await call()
        taken.append(time.monotonic() - begun)
    return taken


if __name__ == "__main__":
    address, identity, call, clients, seconds = sys.argv[1:]
    print(json.dumps(asdict(asyncio.run(_load(address, Path(identity), call, int(clients), float(seconds))))))
