"""Which port each server listens on: free ones at first, the same ones ever after.

While a cluster is up its supervisor holds every port with a bound socket that never listens. Nobody else can take the
port then, not even while its server restarts; a server that sets SO_REUSEADDR, as all of ours do, may still bind it.
"""

import json
import random
import socket
import sys
from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Self

from zoo_local.errors import PortTaken

__all__ = ["GRPC_DISTANCE", "HeldPorts", "choose_ports", "is_free"]

HOST = "127.0.0.1"
# A port comes with the one this far above it: SeaweedFS's parts find each other's gRPC port so.
GRPC_DISTANCE = 10_000
# Both are below Linux's ephemeral range, where an outgoing connection could take one before its server binds it.
RANGE = range(10_000, 22_000)
ATTEMPTS = 10_000


def is_free(port: int) -> bool:
    """Nobody listens there, although connections of an earlier server may still be closing."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        return _binds(probe, port)


def choose_ports(
    path: Path, names: Iterable[str], fixed: Mapping[str, int], within: Sequence[int] = RANGE
) -> dict[str, int]:
    """A port for each name: the `fixed` one, else the one kept in `path` if it is still free, else a free one `within`.

    What was chosen is kept in `path`. PortTaken where a fixed one is not free.
    """
    for name, port in fixed.items():
        if not is_free(port):
            raise PortTaken(f"port {port} for {name} is taken by another program: stop that, or choose another --port")
    before = _read(path)
    kept = {name: port for name, port in before.items() if is_free(port) and name not in fixed}
    ports: dict[str, int] = {**kept, **fixed}
    for name in names:
        if name not in ports:
            ports[name] = _unused(set(ports.values()), within)
    path.write_text(json.dumps(ports, indent=1))
    return ports


class HeldPorts:
    """Holds ports for as long as the context lasts. PortTaken where one cannot be held."""

    def __init__(self, ports: Iterable[int]) -> None:
        self._ports = tuple(ports)
        self._sockets = ExitStack()

    def __enter__(self) -> Self:
        # Only Linux lets a server bind beside a socket that is bound and does not listen.
        for port in self._ports if sys.platform == "linux" else ():
            held = self._sockets.enter_context(socket.socket())
            held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if not _binds(held, port):
                self._sockets.close()
                raise PortTaken(f"port {port} was taken by another program just now: try again")
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._sockets.close()


def _read(path: Path) -> dict[str, int]:
    try:
        return json.loads(path.read_text())
    except (FileNotFoundError, ValueError):  # lost or cut short: the ports are chosen anew
        return {}


def _unused(taken: set[int], within: Sequence[int]) -> int:
    for _ in range(ATTEMPTS):
        port = random.choice(within)  # noqa: S311 - no secret
        if port not in taken and _is_unbound(port) and _is_unbound(port + GRPC_DISTANCE):
            return port
    raise PortTaken(f"no free port between {min(within)} and {max(within)}")


def _is_unbound(port: int) -> bool:
    """Stricter than free: not held by another cluster either."""
    with socket.socket() as probe:
        return _binds(probe, port)


def _binds(probe: socket.socket, port: int) -> bool:
    try:
        probe.bind((HOST, port))
    except OSError:
        return False
    return True
