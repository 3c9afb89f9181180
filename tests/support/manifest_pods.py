"""Pods of parsed manifests, as the checks of them look at them."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

__all__ = ["LOOPBACK", "Manifest", "Pod", "arguments", "pods", "selects", "values"]

Manifest = Mapping[str, Any]
LOOPBACK = "127.0.0.1"
WORKLOADS = ("Deployment", "StatefulSet", "Job", "CronJob")


@dataclass(frozen=True, slots=True)
class Pod:
    """What a workload starts; `owner` is the workload's manifest, `template` its pod's. Sidecars are containers too."""

    owner: Manifest
    template: Manifest

    @property
    def name(self) -> str:
        return self.owner["metadata"]["name"]

    @property
    def spec(self) -> Manifest:
        return self.template["spec"]

    @property
    def labels(self) -> Mapping[str, str]:
        return self.template["metadata"]["labels"]

    @property
    def containers(self) -> list[Manifest]:
        return [*self.spec.get("initContainers", ()), *self.spec["containers"]]

    @property
    def ports(self) -> dict[int | str, int]:
        """Numbers of ports, by number and by name."""
        declared = [port for container in self.containers for port in container.get("ports", ())]
        numbers = {port["containerPort"]: port["containerPort"] for port in declared}
        return {**numbers, **{port["name"]: port["containerPort"] for port in declared}}


def pods(manifests: Iterable[Manifest]) -> Iterator[Pod]:
    return (Pod(one, _job(one)["spec"]["template"]) for one in manifests if one["kind"] in WORKLOADS)


def _job(workload: Manifest) -> Manifest:
    """What has the pod's template."""
    return workload["spec"]["jobTemplate"] if workload["kind"] == "CronJob" else workload


def selects(labels: Mapping[str, str], pod: Pod) -> bool:
    return labels.items() <= pod.labels.items()


def values(container: Manifest) -> dict[str, str]:
    """The environment; empty where a value comes from elsewhere."""
    return {entry["name"]: entry.get("value", "") for entry in container.get("env", ())}


def arguments(container: Manifest) -> list[str]:
    """The program, then its arguments."""
    return [*container.get("command", ()), *container.get("args", ())]
