"""What a pod keeps and how it ends: one writer at a time, on a volume that stays, and time enough to drain."""

from collections.abc import Iterable, Iterator, Mapping

from support.manifest_pods import Manifest, Pod, arguments, values

__all__ = ["life_findings"]

# Where a manifest says nothing: of our servers, and of Kubernetes.
DRAIN_S, GRACE_S = 30, 30


def life_findings(pods: Iterable[Pod], keeps: Mapping[str, tuple[str, ...]]) -> Iterator[str]:
    """`keeps`: programs -> variables and flags that hold the place of what must outlive the pod, which only one pod at
    a time may write: a folder, or the URL of a SQLite file."""
    for pod in pods:
        for container in pod.containers:
            where, program = f"{pod.name}/{container['name']}", arguments(container)[0]
            given = values(container) | dict(word.split("=", 1) for word in arguments(container) if "=" in word)
            # What comes from a Secret is a database elsewhere.
            places = [given[name] for name in keeps.get(program, ()) if given.get(name)]
            if places and _overlaps(pod.owner):
                yield f"{where}: two pods would write {places[0]} at once"
            for place in places:
                if not _stays(place.removeprefix("sqlite:///"), container, pod):
                    yield f"{where}: {place} goes with the pod"
        if _ends_after_s(pod) >= pod.spec.get("terminationGracePeriodSeconds", GRACE_S):
            yield f"{pod.name}: it is killed before its drain can end"


def _overlaps(owner: Manifest) -> bool:
    spec = owner["spec"]
    surges = owner["kind"] == "Deployment" and spec.get("strategy", {}).get("type") != "Recreate"
    return surges or spec.get("replicas", 1) > 1


def _stays(path: str, container: Manifest, pod: Pod) -> bool:
    """Whether the path is on a volume that outlives the pod."""
    claims = {claim["metadata"]["name"] for claim in pod.owner["spec"].get("volumeClaimTemplates", ())}
    claims |= {volume["name"] for volume in pod.spec.get("volumes", ()) if "persistentVolumeClaim" in volume}
    mounts = [mount for mount in container.get("volumeMounts", ()) if mount["name"] in claims]
    return any(f"{path}/".startswith(f"{mount['mountPath']}/") for mount in mounts)


def _ends_after_s(pod: Pod) -> float:
    """Containers end side by side; sidecars after them, when the others are gone."""
    sidecars = [_container_ends_after_s(container) for container in pod.spec.get("initContainers", ())]
    return max(map(_container_ends_after_s, pod.spec["containers"])) + sum(sidecars)


def _container_ends_after_s(container: Manifest) -> float:
    pause_s = container.get("lifecycle", {}).get("preStop", {}).get("sleep", {}).get("seconds", 0)
    drains = any(name.startswith("ZOO_LISTEN") for name in values(container))
    return pause_s + float(values(container).get("ZOO_DRAIN_S", DRAIN_S if drains else 0))
