"""Whether Kubernetes manifests start what there is, as it wants to be started, and point at each other's ports.

`findings` is a pure function of parsed manifests and of what programs take, so that a test can plant a fault.
"""

import itertools
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, get_origin

from pydantic import TypeAdapter, ValidationError

from support.manifest_calls import call_findings
from support.manifest_life import life_findings
from support.manifest_pods import Manifest, Pod, arguments, pods, selects, values

__all__ = ["Program", "findings"]

_ADDRESS = re.compile(r"(?:^|[/@])([a-z][a-z0-9.-]*):(\d+)(?=$|[/?&])")
_VARIABLE = re.compile(r"\$\((\w+)\)")
# Of the environment that programs themselves do not read: what other variables are made of, and the runtime's own.
_NOT_OURS = re.compile(r"(?!ZOO_)[A-Z_]+")


@dataclass(frozen=True)
class Program:
    """`required` and `optional` are environment variables; `flags` the arguments, as they are written, without values.

    `listens` names the variables, or flags, whose value ends in a port that must be declared; `calls` those that hold
    another program's address, with that program; `keeps` those that hold the place of what must outlive the pod.
    `kinds` are the types of variables' values.
    """

    required: frozenset[str] = frozenset()
    optional: frozenset[str] = frozenset()
    flags: frozenset[str] = frozenset()
    listens: tuple[str, ...] = ()
    calls: Mapping[str, str] = field(default_factory=dict[str, str])
    keeps: tuple[str, ...] = ()
    kinds: Mapping[str, Any] = field(default_factory=dict[str, Any])


def findings(
    manifests: Iterable[Manifest], programs: Mapping[str, Program], secrets: Mapping[str, set[str]]
) -> list[str]:
    """What is wrong, in words; empty where nothing is. `secrets` are those that will be there, with their keys."""
    everything = list(manifests)
    services = {m["metadata"]["name"]: m for m in everything if m["kind"] == "Service"}
    policies = [m for m in everything if m["kind"] == "NetworkPolicy"]
    all_pods = list(pods(everything))
    found: list[str] = []
    for pod in all_pods:
        volumes = _volumes(pod)
        for container in pod.containers:
            checks = (
                _command(container, programs),
                _environment(container, programs),
                _ports(container, programs),
                _addresses(container, services, pod),
                _secret_keys(container, secrets),
                _files(container, volumes),
            )
            found += [f"{pod.name}/{container['name']}: {problem}" for check in checks for problem in check]
        found += [f"{pod.name}: {problem}" for problem in _secret_volumes(pod, secrets)]
    for service in services.values():
        found += _service(service, all_pods)
    for policy in policies:
        found += _policy(policy, all_pods)
    kept = {name: program.keeps for name, program in programs.items()}
    called = {name: program.calls for name, program in programs.items()}
    return [*found, *life_findings(all_pods, kept), *call_findings(all_pods, services, policies, called)]


def _command(container: Manifest, programs: Mapping[str, Program]) -> Iterator[str]:
    command, *rest = arguments(container)
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
    program_name = arguments(container)[0]
    program = programs.get(program_name)
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
    for name, value in values(container).items():
        if value and not _is_taken(program.kinds.get(name, str), value):
            yield f"{program_name} does not take the value of {name}, {value}"


def _is_taken(kind: Any, value: str) -> bool:
    adapter = TypeAdapter[Any](kind)
    try:
        # Of several values pydantic-settings reads JSON.
        adapter.validate_json(value) if get_origin(kind) is tuple else adapter.validate_python(value)
    except ValidationError:
        return False
    return True


def _ports(container: Manifest, programs: Mapping[str, Program]) -> Iterator[str]:
    """The program listens where the container says, and is asked there."""
    declared = {port["containerPort"]: port["name"] for port in container.get("ports", ())}
    program = programs.get(container["command"][0])
    words = arguments(container)
    given = values(container) | dict(word.split("=", 1) for word in words if "=" in word)
    given |= dict(itertools.pairwise(words))
    addresses = [given[name] for name in (program.listens if program else ()) if name in given]
    bound = {int(address.rpartition(":")[2]) for address in addresses}
    for address in addresses:
        if address.startswith(("127.", "localhost:")):
            yield f"it listens on {address}, where no other pod reaches it"
    for port in sorted(bound - set(declared)):
        yield f"it listens on {port}, which is no containerPort"
    for port in sorted(set(declared) - bound):
        yield f"containerPort {port} is declared and nothing listens there"
    for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
        for action in container.get(probe, {}).values():
            port = action.get("port") if isinstance(action, dict) else None
            if port is not None and port not in declared and port not in declared.values():
                yield f"its {probe} asks port {port}, which it does not have"


def _addresses(container: Manifest, services: Mapping[str, Manifest], pod: Pod) -> Iterator[str]:
    """Every `host:port` in the environment is a Service's, or one of the same pod."""
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
        if match and entry["name"] != "ZOO_ADMIN" and int(match[1]) not in pod.ports:
            yield f"{entry['name']} points at port {match[1]} of its own pod, where nothing listens"


def _secret_keys(container: Manifest, secrets: Mapping[str, set[str]]) -> Iterator[str]:
    for entry in container.get("env", ()):
        reference = entry.get("valueFrom", {}).get("secretKeyRef")
        if reference and reference["key"] not in secrets.get(reference["name"], set()):
            yield f"{entry['name']} wants {reference['key']} of the Secret {reference['name']}, which will not be there"


def _secret_volumes(pod: Pod, secrets: Mapping[str, set[str]]) -> Iterator[str]:
    for volume in pod.spec.get("volumes", ()):
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
    for value in (*values(container).values(), *arguments(container)[1:]):
        path = value.removeprefix("sqlite:///").rpartition("=")[2]
        if not re.fullmatch(r"/[\w./-]+", path):
            continue
        mount = max((m for m in mounts if path == m or path.startswith(f"{m}/")), key=len, default=None)
        if mount is None:
            yield f"{path} is on no volume, and the rest of the file system is read-only"
        elif (files := volumes.get(mounts[mount])) is not None and path.removeprefix(f"{mount}/") not in files:
            yield f"{path} is not in its volume"


def _service(service: Manifest, all_pods: list[Pod]) -> Iterator[str]:
    name, selector = service["metadata"]["name"], service["spec"]["selector"]
    selected = [pod for pod in all_pods if selects(selector, pod)]
    if not selected:
        yield f"Service {name} selects no pod"
    for port in service["spec"]["ports"]:
        for pod in selected:
            if port.get("targetPort", port["port"]) not in pod.ports:
                yield f"Service {name} leads to port {port.get('targetPort')}, which its pods do not have"


def _policy(policy: Manifest, all_pods: list[Pod]) -> Iterator[str]:
    name = policy["metadata"]["name"]
    for rule in policy["spec"].get("ingress", ()):
        selected = [pod for pod in all_pods if selects(policy["spec"]["podSelector"].get("matchLabels", {}), pod)]
        for port in rule.get("ports", ()):
            if not selected or any(port["port"] not in pod.ports for pod in selected):
                yield f"NetworkPolicy {name} opens port {port['port']}, which its pods do not have"
        for peer in rule.get("from", ()):
            if not any(selects(peer["podSelector"]["matchLabels"], pod) for pod in all_pods):
                yield f"NetworkPolicy {name} lets in pods that there are none of"


def _volumes(pod: Pod) -> dict[str, set[str] | None]:
    """Volumes by name, with the files of those that a Secret gives by items; None where anything may be."""
    volumes: dict[str, set[str] | None] = {}
    for volume in pod.spec.get("volumes", ()):
        items = volume.get("secret", {}).get("items")
        volumes[volume["name"]] = {item["path"] for item in items} if items else None
    for claim in pod.owner["spec"].get("volumeClaimTemplates", ()):
        volumes[claim["metadata"]["name"]] = None
    return volumes
