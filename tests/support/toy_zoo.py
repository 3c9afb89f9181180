"""The real gateway (Envoy and zoo_gateway) with a real Redis, before a toy catalog and fake workers."""

import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from support.envoy import RunningEnvoy, running_envoy
from support.servers import ServerProcess, free_ports
from support.toy_cluster import ToyProcess, toy_process
from support.toy_iam import ToyCatalog, toy_catalog
from zoo_gateway.envoy_config import EnvoySettings, envoy_config
from zoo_gateway.routes import descriptors_path, load_descriptors
from zoo_server.principal import TrustedKey, Verifier, create_signer, save_trust


@dataclass(frozen=True, slots=True)
class Gateway:
    """zoo_gateway as a process, on a port that stays the same over `kill` and `start`."""

    port: int
    env: dict[str, str]
    log: Path

    def start(self) -> ServerProcess:
        process = ServerProcess([sys.executable, "-m", "zoo_gateway.main"], self.log, self.env)
        process.wait_until(lambda: _serves(self.port))
        return process


@dataclass(slots=True)
class ToyZoo:
    catalog: ToyCatalog
    workers: tuple[ToyProcess, ToyProcess]
    gateway: Gateway
    process: ServerProcess
    envoy: RunningEnvoy

    @property
    def address(self) -> str:
        return self.envoy.listen

    def restart_gateway(self) -> None:
        self.process = self.gateway.start()

    def one_more_worker(self, name: str, *models: str) -> AbstractContextManager[ToyProcess]:
        return toy_process("toy_worker", name, *models, env=self.gateway.env | {"ZOO_LISTEN": "127.0.0.1:0"})


@contextmanager
def toy_zoo(folder: Path, redis_url: str) -> Iterator[ToyZoo]:
    """A running zoo of two workers, `first` holding ns/one and `second` holding ns/two."""
    signer, endpoints = create_signer("gateway"), folder / "endpoints"
    trusted = [TrustedKey("gateway", signer.public_key(), None)]
    signer.save(folder / "identity.json")
    save_trust(folder / "trust.json", trusted)
    endpoints.mkdir()
    (port,) = free_ports(1)
    shared = {"ZOO_REDIS_URL": redis_url, "ZOO_TRUST": str(folder / "trust.json")}
    with ExitStack() as stack:
        catalog = stack.enter_context(toy_catalog(Verifier(trusted)))
        first = stack.enter_context(toy_process("toy_worker", "first", "ns/one@1", env=shared))
        second = stack.enter_context(toy_process("toy_worker", "second", "ns/two@1", env=shared))
        own = {
            "ZOO_LISTEN": f"127.0.0.1:{port}",
            "ZOO_IDENTITY": str(folder / "identity.json"),
            "ZOO_CATALOG": f"127.0.0.1:{catalog.port}",
            "ZOO_ENDPOINTS_DIR": str(endpoints),
        }
        gateway = Gateway(port, {**shared, **own}, folder / "gateway.log")
        process = gateway.start()
        settings = EnvoySettings(
            listen="127.0.0.1:0",
            admin="127.0.0.1:0",
            gateway=f"127.0.0.1:{port}",
            catalog=f"127.0.0.1:{catalog.port}",
            artifact="127.0.0.1:1",
            training="127.0.0.1:1",
            endpoints_dir=endpoints,
            descriptors=descriptors_path(),
            access_log=str(folder / "access.log"),
        )
        envoy = stack.enter_context(running_envoy(envoy_config(settings, load_descriptors()), folder))
        zoo = ToyZoo(catalog, (first, second), gateway, process, envoy)
        try:
            yield zoo
        finally:
            zoo.process.kill()


def _serves(port: int) -> bool:
    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        try:
            answer = health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(), timeout=2)
        except grpc.RpcError:
            return False
        return answer.status == health_pb2.HealthCheckResponse.SERVING
