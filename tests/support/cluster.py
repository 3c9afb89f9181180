"""A whole cluster: what `zoo up` starts, in a folder of its own, and ways in."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Generator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import grpc

from modelzoo.client import Client
from modelzoo.errors import AlreadyExists, Unauthenticated, from_rpc_error
from support.servers import ServerProcess
from zoo.iam.v1 import iam_service_pb2 as pb
from zoo.iam.v1 import iam_service_pb2_grpc as rpc
from zoo.iam.v1 import key_pb2
from zoo_local.layout import Layout
from zoo_local.state import ClusterState, Phase, ProcessRecord, read_running

ZOO = str(Path(sys.executable).with_name("zoo"))
START_LIMIT_S = 180.0
LEARN_LIMIT_S = 10.0
POLL_S = 0.05
TIMEOUT_S = 20


@dataclass(frozen=True, slots=True)
class Cluster:
    """A running cluster; `admin_key` is its administrator's."""

    layout: Layout
    url: str
    admin_key: str = field(repr=False)
    _keys: dict[tuple[str, str, str], str] = field(default_factory=dict, repr=False)

    @property
    def address(self) -> str:
        """`host:port` of the gateway, for gRPC."""
        return self.url.removeprefix("http://")

    def key(self, subject: str, namespace: str, role: str) -> str:
        """A key of a subject that has this role in this namespace, which is made where it is missing."""
        known = self._keys.get((subject, namespace, role))
        if known is None:
            known = self._keys[subject, namespace, role] = self._make_key(subject, namespace, role)
        return known

    def client(self, key: str | None = None) -> Client:
        """A client with this key, or the administrator's."""
        return Client(self.url, key or self.admin_key)

    def environment(self, key: str | None = None) -> dict[str, str]:
        """What a command needs in its environment to talk to this cluster."""
        return {**os.environ, "ZOO_URL": self.url, "ZOO_KEY": key or self.admin_key}

    def state(self) -> ClusterState:
        state = read_running(self.layout.state)
        assert state is not None, "the cluster is not up"
        return state

    def process(self, name: str) -> ProcessRecord:
        """A process by the name that `zoo status` gives it."""
        return next(process for process in self.state().processes if process.name == name)

    def pid(self, name: str) -> int:
        """Its process id, 0 while it does not run."""
        return self.process(name).pid

    def ports(self) -> dict[str, int]:
        return json.loads(self.layout.ports.read_text())

    def _make_key(self, subject: str, namespace: str, role: str) -> str:
        with self.client() as zoo, suppress(AlreadyExists):
            zoo.create_namespace(namespace)
        metadata = (("authorization", f"Bearer {self.admin_key}"),)
        with grpc.insecure_channel(self.address) as channel:
            stub = rpc.IamServiceStub(channel)
            grant = key_pb2.Grant(subject=subject, namespace=namespace, role=f"ROLE_{role.upper()}")
            stub.CreateGrant(pb.CreateGrantRequest(grant=grant), metadata=metadata, timeout=TIMEOUT_S)
            request = pb.CreateKeyRequest(key=key_pb2.Key(subject=subject))
            secret = stub.CreateKey(request, metadata=metadata, timeout=TIMEOUT_S).secret
            _await_key(stub, secret)
        return secret


@contextmanager
def running_cluster(folder: Path, *options: str) -> Generator[Cluster]:
    """`zoo up` on this folder; stopped in order at the end, and killed where the test process is."""
    layout = Layout(folder.resolve())
    supervisor = ServerProcess([ZOO, "up", "--data", str(layout.root), *options], folder / "up.log")
    try:
        _await_serving(layout, supervisor)
        settings = cluster_environment(layout)
        yield Cluster(layout, settings["ZOO_URL"], settings["ZOO_KEY"])
        zoo("down", "--data", str(layout.root))
    finally:
        supervisor.kill()


def zoo(*arguments: str, rc: int = 0, timeout_s: float = START_LIMIT_S) -> str:
    """What the command prints on stdout; AssertionError with all of it for another exit code than `rc`."""
    done = subprocess.run([ZOO, *arguments], capture_output=True, text=True, timeout=timeout_s, check=False)
    assert done.returncode == rc, f"zoo {' '.join(arguments)}: {done.returncode}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def cluster_environment(layout: Layout) -> dict[str, str]:
    """What `zoo env` prints, by name."""
    return dict(line.split("=", 1) for line in zoo("env", "--data", str(layout.root)).splitlines())


def _await_serving(layout: Layout, supervisor: ServerProcess) -> None:
    deadline = time.monotonic() + START_LIMIT_S
    while (state := read_running(layout.state)) is None or state.phase is not Phase.SERVING:
        assert supervisor.is_running(), supervisor.log.read_text(errors="replace")[-4000:]
        assert time.monotonic() < deadline, f"not up within {START_LIMIT_S:g} s: {state}"
        time.sleep(POLL_S)


def _await_key(stub: rpc.IamServiceStub, secret: str) -> None:
    """The gateway learns of a new key by its watch, a moment after it was made."""
    deadline = time.monotonic() + LEARN_LIMIT_S
    metadata = (("authorization", f"Bearer {secret}"),)
    while True:
        try:
            stub.GetPrincipal(pb.GetPrincipalRequest(), metadata=metadata, timeout=TIMEOUT_S)
            return
        except grpc.RpcError as error:
            if not isinstance(from_rpc_error(error), Unauthenticated) or time.monotonic() > deadline:
                raise
        time.sleep(POLL_S)
