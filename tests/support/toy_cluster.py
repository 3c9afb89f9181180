"""Two toy workers and a toy picker behind a real Envoy; each a process that a test may kill."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from string import Template

from support.envoy import RunningEnvoy, running_envoy
from support.toy_stubs import Stubs, compile_stubs, load_stubs

HERE = Path(__file__).resolve().parent
TESTS = HERE.parent


@dataclass(frozen=True, slots=True)
class ToyProcess:
    address: str
    process: subprocess.Popen[bytes]

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()


@dataclass(frozen=True, slots=True)
class ToyCluster:
    stubs: Stubs
    first: ToyProcess
    second: ToyProcess
    picker: ToyProcess
    envoy: RunningEnvoy
    endpoints: Path

    def serve_from(self, *addresses: str) -> None:
        """Replace the set of workers that Envoy knows, as a gateway would: write, then rename."""
        write_endpoints(self.endpoints, *addresses)


@contextmanager
def toy_cluster(folder: Path) -> Iterator[ToyCluster]:
    """A running cluster whose picker names the first worker, then the second."""
    compile_stubs(folder)
    endpoints = folder / "endpoints"
    endpoints.mkdir()
    with ExitStack() as stack:
        first = stack.enter_context(toy_process("toy_server", str(folder), "first"))
        second = stack.enter_context(toy_process("toy_server", str(folder), "second"))
        picker = stack.enter_context(toy_process("toy_picker", f"{first.address},{second.address}"))
        write_endpoints(endpoints, first.address, second.address)
        config = Template((HERE / "toy_envoy.yaml").read_text()).substitute(
            descriptors=folder / "toy.binpb", picker_port=picker.address.rpartition(":")[2], endpoints=endpoints
        )
        envoy = stack.enter_context(running_envoy(config, folder))
        yield ToyCluster(load_stubs(folder), first, second, picker, envoy, endpoints)


@contextmanager
def toy_process(module: str, *arguments: str, env: Mapping[str, str] | None = None) -> Iterator[ToyProcess]:
    """A toy of this folder as a process; it prints its port when it serves."""
    command = [sys.executable, "-m", f"support.{module}", *arguments]
    environment = {**os.environ, "PYTHONPATH": str(TESTS), **(env or {})}
    with subprocess.Popen(command, stdout=subprocess.PIPE, env=environment) as process:
        assert process.stdout is not None
        port = process.stdout.readline().decode().strip()
        try:
            yield ToyProcess(f"127.0.0.1:{port}", process)
        finally:
            process.kill()


def write_endpoints(folder: Path, *addresses: str) -> None:
    hosts = [address.rpartition(":") for address in addresses]
    assignment = {
        "@type": "type.googleapis.com/envoy.config.endpoint.v3.ClusterLoadAssignment",
        "cluster_name": "workers",
        "endpoints": [
            {
                "lb_endpoints": [
                    {"endpoint": {"address": {"socket_address": {"address": ip, "port_value": int(port)}}}}
                    for ip, _, port in hosts
                ]
            }
        ],
    }
    temporary = folder / ".workers.json"
    temporary.write_text(json.dumps({"resources": [assignment]}))
    temporary.rename(folder / "workers.json")
