"""Which upstream serves a method, and what the picker must know before the call goes there.

The table comes from the descriptors, so that a method exists here exactly if it exists in the protos.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from importlib import resources
from pathlib import Path

from google.protobuf import descriptor_pb2

from modelzoo.errors import Unimplemented

__all__ = ["Route", "Routes", "Upstream", "descriptors_path", "load_descriptors"]


class Upstream(Enum):
    """Where a call goes; Envoy's template has the same table by path prefix."""

    CATALOG = "catalog"
    ARTIFACT = "artifact"
    TRAINING = "training"
    INFERENCE = "inference"
    GATEWAY = "gateway"


# The longest prefix decides.
_UPSTREAMS: Mapping[str, Upstream] = {
    "zoo.catalog.": Upstream.CATALOG,
    "zoo.iam.": Upstream.CATALOG,
    "zoo.artifact.": Upstream.ARTIFACT,
    "zoo.training.": Upstream.TRAINING,
    "zoo.inference.": Upstream.INFERENCE,
    "zoo.inference.v1.WorkerService": Upstream.GATEWAY,
    "zoo.description.": Upstream.GATEWAY,
}

# What parts of the zoo say to each other past the gateway: for callers there is no such service.
_UNSERVED = frozenset({"zoo.training.v1.TrainerService"})


@dataclass(frozen=True, slots=True)
class Route:
    """`reads_model`: a worker must be chosen by the model that the call names. `streams_requests`: the first of
    several request messages names it."""

    upstream: Upstream
    streams_requests: bool

    @property
    def reads_model(self) -> bool:
        return self.upstream is Upstream.INFERENCE


class Routes:
    """Routes by method path, `/package.Service/Method`."""

    def __init__(self, descriptors: descriptor_pb2.FileDescriptorSet) -> None:
        self._routes = dict(_routes(descriptors))

    def route(self, path: str) -> Route:
        """The route of a path (a query string does not count), or Unimplemented METHOD_UNKNOWN."""
        path = path.partition("?")[0]
        route = self._routes.get(path)
        if route is None:
            raise Unimplemented(
                "METHOD_UNKNOWN",
                f"nothing is served at {path[:200]}: /openapi.json and reflection, on this port, list every method",
                metadata={"path": path[:200]},
            )
        return route

    def paths(self) -> list[str]:
        """Of every method there is."""
        return sorted(self._routes)

    def conversations(self) -> list[str]:
        """Paths of the methods whose model stands in the first of several request messages."""
        return sorted(path for path, route in self._routes.items() if route.reads_model and route.streams_requests)


def descriptors_path() -> Path:
    """The descriptor set of every service, which the build leaves beside the stubs."""
    return Path(str(resources.files("zoo") / "descriptors.binpb"))


def load_descriptors() -> descriptor_pb2.FileDescriptorSet:
    """Of everything that the gateway serves: routes, reflection, REST and its description are made from it."""
    descriptors = descriptor_pb2.FileDescriptorSet.FromString(descriptors_path().read_bytes())
    for file in descriptors.file:
        served = [service for service in file.service if f"{file.package}.{service.name}" not in _UNSERVED]
        del file.service[:]
        file.service.extend(served)
    return descriptors


def _routes(descriptors: descriptor_pb2.FileDescriptorSet) -> list[tuple[str, Route]]:
    found: list[tuple[str, Route]] = []
    for file in descriptors.file:
        for service in file.service:
            full_name = f"{file.package}.{service.name}"
            prefix = max((p for p in _UPSTREAMS if full_name.startswith(p)), key=len, default=None)
            if prefix is None:
                raise ValueError(f"no upstream serves {full_name}: add it to _UPSTREAMS and to envoy.yaml")
            for method in service.method:
                route = Route(_UPSTREAMS[prefix], method.client_streaming)
                found.append((f"/{full_name}/{method.name}", route))
    return found
