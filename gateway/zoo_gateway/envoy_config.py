"""Envoy's configuration: the template envoy.yaml, filled from typed settings. A pure function of its arguments.

The same template serves on one machine (zoo_local) and in a cluster (rendered into the manifests).
"""

import base64
import json
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from string import Template

from google.protobuf import descriptor_pb2

from modelzoo.errors import InvalidArgument, ResourceExhausted, Unavailable, ZooError
from zoo_gateway.refusal import refuse
from zoo_gateway.routes import Routes
from zoo_gateway.uploads import raw_descriptors, raw_paths

__all__ = ["EnvoySettings", "envoy_config"]

MIB = 1024 * 1024


@dataclass(frozen=True, slots=True)
class EnvoySettings:
    """Addresses are `host:port`; hosts may be names. `admin` should be on a loopback interface: it has no password.

    `descriptors` and `endpoints_dir` are paths as Envoy sees them; `access_log` may be /dev/stdout.
    """

    listen: str
    admin: str
    gateway: str
    catalog: str
    artifact: str
    training: str
    endpoints_dir: Path
    descriptors: Path
    access_log: str = "/dev/stdout"
    connections_most: int = 10_000
    body_most_bytes: int = 64 * MIB
    drain_s: int = 30


# What Envoy answers by itself, by HTTP status. Where the message is empty, Envoy's own says more.
_LOCAL_REPLIES: Mapping[int, ZooError] = {
    400: InvalidArgument("FIELD_INVALID", ""),
    413: ResourceExhausted("REQUEST_TOO_LARGE", "the request is larger than the gateway takes: send less at once"),
    503: Unavailable("DEPENDENCY_UNAVAILABLE", "the service of this method does not answer: retry", retry_after_s=1),
    504: Unavailable("DEPENDENCY_UNAVAILABLE", "the service of this method answers too late: retry", retry_after_s=1),
}
_ENVOYS_WORDS = "%LOCAL_REPLY_BODY%"


def envoy_config(settings: EnvoySettings, descriptors: descriptor_pb2.FileDescriptorSet) -> str:
    """The whole configuration as YAML. `descriptors` are those that `settings.descriptors` names."""
    template = Template((resources.files("zoo_gateway") / "envoy.yaml").read_text())
    services = sorted(f"{f.package}.{s.name}" for f in descriptors.file for s in f.service)
    conversations = Routes(descriptors).conversations()
    return template.substitute(
        **_host_and_port("listen", settings.listen),
        **_host_and_port("admin", settings.admin),
        **_host_and_port("gateway", settings.gateway),
        **_host_and_port("catalog", settings.catalog),
        **_host_and_port("artifact", settings.artifact),
        **_host_and_port("training", settings.training),
        endpoints_dir=settings.endpoints_dir,
        descriptors=settings.descriptors,
        access_log=settings.access_log,
        connections_most=settings.connections_most,
        body_most_bytes=settings.body_most_bytes,
        drain_s=settings.drain_s,
        services=", ".join(services),
        # A regular expression that no path matches where there are none: paths begin with a slash.
        conversations="|".join(path.replace(".", "[.]") for path in conversations) or "none",
        local_replies=_local_replies(),
        raw_paths=raw_paths(descriptors),
        raw_descriptors=base64.b64encode(raw_descriptors(descriptors).SerializeToString()).decode(),
    )


def _host_and_port(name: str, address: str) -> dict[str, str]:
    host, _, port = address.rpartition(":")
    return {f"{name}_host": host.strip("[]"), f"{name}_port": str(int(port))}


def _local_replies() -> str:
    """The mappers that give Envoy's own errors the form of ours, as lines of YAML."""
    mappers = [
        _mapper(status, error, by_grpc=by_grpc) for status, error in _LOCAL_REPLIES.items() for by_grpc in (True, False)
    ]
    return "\n".join(f"{' ' * 20}- {json.dumps(mapper)}" for mapper in mappers)


def _mapper(http_status: int, error: ZooError, *, by_grpc: bool) -> dict[str, object]:
    refusal = refuse(error, by_grpc=by_grpc)
    headers = dict(refusal.headers)
    if by_grpc:
        headers["grpc-status"] = str(refusal.grpc_status)
        body: dict[str, object] = {"text_format_source": {"inline_string": error.message or _ENVOYS_WORDS}}
    else:
        content = json.loads(refusal.body)
        body = {"json_format": {**content, "message": error.message or _ENVOYS_WORDS}}
    status = {"comparison": {"op": "EQ", "value": {"default_value": http_status, "runtime_key": "none"}}}
    return {
        "filter": {"and_filter": {"filters": [{"status_code_filter": status}, _speaks_grpc(by_grpc)]}},
        "body_format_override": body,
        "headers_to_add": [
            {"header": {"key": key, "value": value}, "append_action": "OVERWRITE_IF_EXISTS_OR_ADD"}
            for key, value in headers.items()
        ],
    }


def _speaks_grpc(wanted: bool) -> dict[str, object]:
    grpc_type = {"string_match": {"prefix": "application/grpc"}, "treat_missing_header_as_empty": True}
    transcoded = {"name": "x-envoy-original-path", "present_match": True}
    if wanted:
        filters = [
            {"header_filter": {"header": {"name": "content-type", **grpc_type}}},
            {"header_filter": {"header": {**transcoded, "invert_match": True}}},
        ]
        return {"and_filter": {"filters": filters}}
    filters = [
        {"header_filter": {"header": {"name": "content-type", **grpc_type, "invert_match": True}}},
        {"header_filter": {"header": transcoded}},
    ]
    return {"or_filter": {"filters": filters}}
