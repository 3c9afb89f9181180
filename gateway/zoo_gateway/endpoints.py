"""The file that tells Envoy which workers there are: a ClusterLoadAssignment of its EDS protocol, as JSON."""

import json
import secrets
from collections.abc import Iterable
from pathlib import Path

__all__ = ["EndpointsFile"]

CLUSTER = "workers"
FILE_NAME = "workers.json"


class EndpointsFile:
    """Replaces the file whenever the set of addresses changes; Envoy watches for the rename."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / FILE_NAME
        self._written: frozenset[str] | None = None

    def ensure(self) -> None:
        """Leave a file, without which Envoy does not start. One from before stays: those workers may well be there."""
        if not self._path.exists():
            self.write(())

    def write(self, addresses: Iterable[str]) -> None:
        """Leave the file naming exactly these `ip:port` addresses. A reader sees the old file or the new one."""
        wanted = frozenset(addresses)
        if wanted == self._written:
            return
        temporary = self._path.with_name(f".{FILE_NAME}.{secrets.token_hex(8)}")
        temporary.write_text(json.dumps(_assignment(sorted(wanted)), indent=1))
        temporary.rename(self._path)
        self._written = wanted


def _assignment(addresses: list[str]) -> dict[str, object]:
    endpoints = [_endpoint(address) for address in addresses]
    return {
        "resources": [
            {
                "@type": "type.googleapis.com/envoy.config.endpoint.v3.ClusterLoadAssignment",
                "cluster_name": CLUSTER,
                "endpoints": [{"lb_endpoints": endpoints}],
            }
        ]
    }


def _endpoint(address: str) -> dict[str, object]:
    ip, _, port = address.rpartition(":")
    socket_address = {"address": ip.strip("[]"), "port_value": int(port)}
    return {"endpoint": {"address": {"socket_address": socket_address}}}
