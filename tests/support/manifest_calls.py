"""Whether every call that a program makes arrives at the program it is meant for, and is let through on its way.

NetworkPolicies are read as their reference defines them: a pod that no policy of a direction selects is open in it; the
others let through what one rule names. Selectors are by labels of pods; any other raises instead of being misread.
https://kubernetes.io/docs/concepts/services-networking/network-policies/
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from support.manifest_pods import LOOPBACK, Manifest, Pod, arguments, selects, values

__all__ = ["call_findings"]

_ADDRESS = re.compile(r"(?:^|[/@])([a-z0-9][a-z0-9.-]*):(\d+)(?=$|[/?&])")
DNS_PORT = 53
# The one program that may be called from anywhere.
PUBLIC = "zoo-envoy"
# Envoy calls workers at the addresses that they announce.
CARRIES, CARRIED_TO, ANNOUNCED = "zoo-envoy", "zoo-worker", "ZOO_ADVERTISE"


@dataclass(frozen=True, slots=True)
class Call:
    """`variable` of `caller` leads to this port of `called`."""

    caller: Pod
    variable: str
    called: Pod
    port: int


def call_findings(
    all_pods: Sequence[Pod],
    services: Mapping[str, Manifest],
    policies: Sequence[Manifest],
    calls: Mapping[str, Mapping[str, str]],
) -> Iterator[str]:
    """`calls`: programs -> variables that hold an address -> the program that is meant."""
    for pod in all_pods:
        for container in pod.containers:
            for variable, meant in calls.get(arguments(container)[0], {}).items():
                for call in _calls(pod, variable, values(container).get(variable, ""), all_pods, services):
                    if meant not in _programs(call.called, call.port):
                        yield f"{pod.name}/{container['name']}: {variable} leads to something else than {meant}"
                    yield from _refused(call, policies)
    for call in _carried(all_pods):
        yield from _refused(call, policies)
    for pod in all_pods:
        for port in {*pod.ports.values()}:
            if _lets_in_all(policies, pod, port) and PUBLIC not in _programs(pod, port):
                yield f"{pod.name}: everybody may call port {port}"


def _calls(
    caller: Pod, variable: str, value: str, all_pods: Iterable[Pod], services: Mapping[str, Manifest]
) -> Iterator[Call]:
    for host, port in _ADDRESS.findall(value):
        if host == LOOPBACK:
            yield Call(caller, variable, caller, int(port))
        for entry in services[host]["spec"]["ports"] if host in services else ():
            for pod in all_pods:
                if entry["port"] == int(port) and selects(services[host]["spec"]["selector"], pod):
                    target = pod.ports.get(entry.get("targetPort", entry["port"]))
                    if target is not None:
                        yield Call(caller, variable, pod, target)


def _carried(all_pods: Sequence[Pod]) -> Iterator[Call]:
    for worker in all_pods:
        for container in worker.containers:
            if arguments(container)[0] == CARRIED_TO:
                port = int(values(container)[ANNOUNCED].rpartition(":")[2])
                carriers = [pod for pod in all_pods if any(arguments(c)[0] == CARRIES for c in pod.containers)]
                yield from (Call(pod, ANNOUNCED, worker, port) for pod in carriers)


def _programs(pod: Pod, port: int) -> set[str]:
    """Those of the pod's containers that declare the port."""
    declaring = [c for c in pod.containers if port in [one["containerPort"] for one in c.get("ports", ())]]
    return {arguments(container)[0] for container in declaring}


def _refused(call: Call, policies: Sequence[Manifest]) -> Iterator[str]:
    if call.called is call.caller:
        return
    where = f"{call.caller.name}: {call.variable}: port {call.port} of {call.called.name}"
    if not _lets(policies, "ingress", call.called, call.caller, call.called.ports, call.port):
        yield f"{where} does not let it in"
    if not _lets(policies, "egress", call.caller, call.called, call.called.ports, call.port):
        yield f"{where} is none that it may call"
    if not _lets(policies, "egress", call.caller, None, {}, DNS_PORT):
        yield f"{where} has a name that it may not look up"


def _lets(
    policies: Sequence[Manifest],
    direction: str,
    pod: Pod,
    peer: Pod | None,
    ports: Mapping[int | str, int],
    port: int,
) -> bool:
    """Whether `pod` is let talk with `peer` (None: with anybody) about `port`. `ports` has the called pod's names."""
    ours = _of(policies, direction, pod)
    rules = [rule for policy in ours for rule in policy["spec"].get(direction, ())]
    return not ours or any(_names(rule, direction, peer) and _about(rule, ports, port) for rule in rules)


def _lets_in_all(policies: Sequence[Manifest], pod: Pod, port: int) -> bool:
    return _lets(policies, "ingress", pod, None, pod.ports, port)


def _of(policies: Sequence[Manifest], direction: str, pod: Pod) -> list[Manifest]:
    """Those that select the pod, in this direction."""
    of_direction = [policy for policy in policies if direction.capitalize() in policy["spec"]["policyTypes"]]
    return [policy for policy in of_direction if _matches(policy["spec"]["podSelector"], pod)]


def _names(rule: Manifest, direction: str, peer: Pod | None) -> bool:
    peers = rule.get("from" if direction == "ingress" else "to")
    if not peers:
        return True
    return peer is not None and any(_matches(one["podSelector"], peer) for one in peers)


def _about(rule: Manifest, ports: Mapping[int | str, int], port: int) -> bool:
    wanted = rule.get("ports")
    return not wanted or any(ports.get(one["port"], one["port"]) == port for one in wanted)


def _matches(selector: Manifest, pod: Pod) -> bool:
    if set(selector) - {"matchLabels"}:
        raise KeyError(f"a selector that this check does not read: {dict(selector)}")
    return selects(selector.get("matchLabels", {}), pod)
