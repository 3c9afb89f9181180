"""Whether Kubernetes manifests start what there is, as it wants to be started, and point at each other's ports.

`findings` is a pure function of parsed manifests and of what programs take, so that a test can plant a fault.
"""

import itertools
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

__all__ = ["Program", "findings"]

Manifest = Mapping[str, Any]
_ADDRESS = re.compile(r"(?:^|[/@])([a-z][a-z0-9.-]*):(\d+)(?=$|[/?&])")
_VARIABLE = re.compile(r"\$\((\w+)\)")
# Of the environment that programs themselves do not read: what other variables are made of, and the runtime's own.
_NOT_OURS = re.compile(r"(?!ZOO_)[A-Z_]+")


@dataclass(frozen=True)
class Program:
    """`required` and `optional` are environment variables; `flags` the arguments, as they are written, without values.

    `listens` names the variables, or flags, whose value ends in a port that must be declared.
    """

    required: frozenset[str] = frozenset()
    optional: frozenset[str] = frozenset()
    flags: frozenset[str] = frozenset()
    listens: tuple[str, ...] = ()


def findings(
    manifests: Iterable[Manifest], programs: Mapping[str, Program], secrets: Mapping[str, set[str]]
) -> list[str]:
    """What is wrong, in words; empty where nothing is. `secrets` are those that will be there, with their keys."""
    everything = list(manifests)
    services = {m["metadata"]["name"]: m for m in everything if m["kind"] == "Service"}
    pods = [(m, pod) for m in everything if (pod := _pod(m)) is not None]
    found: list[str] = []
    for manifest, pod in pods:
        volumes = _volumes(manifest, pod)
        for container in pod["spec"]["containers"]:
            where = f"{manifest['metadata']['name']}/{container['name']}"
            checks = (
                _command(container, programs),
                _environment(container, programs),
                _ports(container, programs),
                _addresses(container, services, {c["name"]: c for c in pod["spec"]["containers"]}),
                _secret_keys(container, secrets),
                _files(container, volumes),
            )
            found += [f"{where}: {problem}" for check in checks for problem in check]
        found += [f"{manifest['metadata']['name']}: {p}" for p in _secret_volumes(pod, secrets)]
    for service in services.values():
        found += _service(service, [pod for _, pod in pods])
    for policy in (m for m in everything if m["kind"] == "NetworkPolicy"):
        found += _policy(policy, [pod for _, pod in pods])
    return found


def _command(container: Manifest, programs: Mapping[str, Program]) -> Iterator[str]:
    command, *rest = [*container.get("command", ()), *container.get("args", ())]
    if command not in programs:
        yield f"there is no program {command}"
        return
    for argument in rest:
        flag = argument.partition("=")[0]
        if argument.startswith("-") and flag not in programs[command].flags:
            yield f"{command} does not know the argument {flag}"
        elif not argument.startswith("-") and not programs[command].flags:
            yield f"{command} takes no arguments, and gets {argument}"


def _environment(container: Manifest, programs: Mapping[str, Program]) -> Iterator[str]:
    program = programs.get(container["command"][0])
    if program is None:
        return
    given = [entry["name"] for entry in container.get("env", ())]
    for name in sorted(program.required - set(given)):
        yield f"{name} is missing"
    used: set[str] = set()
    for entry in reversed(container.get("env", ())):
        name = entry["name"]
        known = name in program.required | program.optional
        if not known and not (_NOT_OURS.fullmatch(name) and name in used):
            yield f"{name} is read by nobody"
        used |= set(_VARIABLE.findall(entry.get("value", "")))
    for name in used - set(given):
        yield f"$({name}) is not defined"


def _ports(container: Manifest, programs: Mapping[str, Program]) -> Iterator[str]:
    """The program listens where the container says, and is asked there."""
    declared = {port["containerPort"]: port["name"] for port in container.get("ports", ())}
    program = programs.get(container["command"][0])
    arguments = [*container["command"], *container.get("args", ())]
    values = {entry["name"]: entry.get("value", "") for entry in container.get("env", ())}
    values |= dict(argument.split("=", 1) for argument in arguments if "=" in argument)
    values |= dict(itertools.pairwise(arguments))
    bound = {int(values[name].rpartition(":")[2]) for name in (program.listens if program else ()) if name in values}
    for port in sorted(bound - set(declared)):
        yield f"it listens on {port}, which is no containerPort"
    for port in sorted(set(declared) - bound):
        yield f"containerPort {port} is declared and nothing listens there"
    for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
        for action in container.get(probe, {}).values():
            port = action.get("port") if isinstance(action, dict) else None
            if port is not None and port not in declared and port not in declared.values():
                yield f"its {probe} asks port {port}, which it does not have"


def _addresses(container: Manifest, services: Mapping[str, Manifest], beside: Mapping[str, Manifest]) -> Iterator[str]:
    """Every `host:port` in the environment is a Service's, or one of the same pod."""
    local = {port["containerPort"] for one in beside.values() for port in one.get("ports", ())}
    for entry in container.get("env", ()):
        for host, port in _ADDRESS.findall(entry.get("value", "")):
            # An address elsewhere has dots; one of the cluster's is a Service's bare name.
            if "." in host:
                continue
            service = services.get(host)
            ports = {one["port"] for one in service["spec"]["ports"]} if service else set[int]()
            if int(port) not in ports:
                yield f"{entry['name']} points at {host}:{port}, where no Service is"
        match = re.fullmatch(r"127\.0\.0\.1:(\d+)", entry.get("value", ""))
        if match and entry["name"] != "ZOO_ADMIN" and int(match[1]) not in local:
            yield f"{entry['name']} points at port {match[1]} of its own pod, where nothing listens"


def _secret_keys(container: Manifest, secrets: Mapping[str, set[str]]) -> Iterator[str]:
    for entry in container.get("env", ()):
        reference = entry.get("valueFrom", {}).get("secretKeyRef")
        if reference and reference["key"] not in secrets.get(reference["name"], set()):
            yield f"{entry['name']} wants {reference['key']} of the Secret {reference['name']}, which will not be there"


def _secret_volumes(pod: Manifest, secrets: Mapping[str, set[str]]) -> Iterator[str]:
    for volume in pod["spec"].get("volumes", ()):
        secret = volume.get("secret")
        if secret is None:
            continue
        keys = secrets.get(secret["secretName"])
        wanted = {item["key"] for item in secret.get("items", ())}
        if keys is None or not wanted <= keys:
            yield f"the volume {volume['name']} wants a Secret that will not be there"


def _files(container: Manifest, volumes: Mapping[str, set[str] | None]) -> Iterator[str]:
    """Paths in the environment and arguments lie in a mount; in a Secret's, the file is one of the Secret's."""
    mounts = {mount["mountPath"]: mount["name"] for mount in container.get("volumeMounts", ())}
    for name in sorted(set(mounts.values()) - set(volumes)):
        yield f"the mount {name} has no volume"
    values = [entry.get("value", "") for entry in container.get("env", ())]
    values += [*container["command"][1:], *container.get("args", ())]
    for value in values:
        path = value.removeprefix("sqlite:///").rpartition("=")[2]
        if not re.fullmatch(r"/[\w./-]+", path):
            continue
        mount = max((m for m in mounts if path == m or path.startswith(f"{m}/")), key=len, default=None)
        if mount is None:
            yield f"{path} is on no volume, and the rest of the file system is read-only"
        elif (files := volumes.get(mounts[mount])) is not None and path.removeprefix(f"{mount}/") not in files:
            yield f"{path} is not in its volume"


def _service(service: Manifest, pods: list[Manifest]) -> Iterator[str]:
    name, selector = service["metadata"]["name"], service["spec"]["selector"]
    selected = [pod for pod in pods if _selects(selector, pod)]
    if not selected:
        yield f"Service {name} selects no pod"
    for port in service["spec"]["ports"]:
        for pod in selected:
            if port.get("targetPort", port["port"]) not in _pod_ports(pod):
                yield f"Service {name} leads to port {port.get('targetPort')}, which its pods do not have"


def _policy(policy: Manifest, pods: list[Manifest]) -> Iterator[str]:
    name = policy["metadata"]["name"]
    for rule in policy["spec"].get("ingress", ()):
        selected = [pod for pod in pods if _selects(policy["spec"]["podSelector"].get("matchLabels", {}), pod)]
        for port in rule.get("ports", ()):
            if not selected or any(port["port"] not in _pod_ports(pod) for pod in selected):
                yield f"NetworkPolicy {name} opens port {port['port']}, which its pods do not have"
        for peer in rule.get("from", ()):
            if not any(_selects(peer["podSelector"]["matchLabels"], pod) for pod in pods):
                yield f"NetworkPolicy {name} lets in pods that there are none of"


def _pod(manifest: Manifest) -> Manifest | None:
    if manifest["kind"] not in ("Deployment", "StatefulSet", "Job"):
        return None
    return manifest["spec"]["template"]


def _pod_ports(pod: Manifest) -> set[int | str]:
    ports = [port for container in pod["spec"]["containers"] for port in container.get("ports", ())]
    return {port["containerPort"] for port in ports} | {port["name"] for port in ports}


def _selects(labels: Mapping[str, str], pod: Manifest) -> bool:
    return labels.items() <= pod["metadata"]["labels"].items()


def _volumes(manifest: Manifest, pod: Manifest) -> dict[str, set[str] | None]:
    """Volumes by name, with the files of those that a Secret gives by items; None where anything may be."""
    volumes: dict[str, set[str] | None] = {}
    for volume in pod["spec"].get("volumes", ()):
        items = volume.get("secret", {}).get("items")
        volumes[volume["name"]] = {item["path"] for item in items} if items else None
    for claim in manifest["spec"].get("volumeClaimTemplates", ()):
        volumes[claim["metadata"]["name"]] = None
    return volumes
