"""What the agent hands to the driver of jobs on a Ray cluster. Ray itself is the driver's alone."""

import json
import sys
from dataclasses import asdict, dataclass

from zoo_trainer.settings import Settings

__all__ = ["RayCluster", "ray_command"]


@dataclass(frozen=True, slots=True)
class RayCluster:
    """Where it is; what each process of a job takes of it; where each of its nodes has its cache of the artifact
    service's files, and its folder for work in hand: its own trainers may share both."""

    address: str
    cpus: int
    gpus: int
    cache_dir: str
    cache_bytes: int
    work_dir: str

    @classmethod
    def from_text(cls, text: str) -> "RayCluster":
        return cls(**json.loads(text))


def ray_command(settings: Settings) -> tuple[str, ...]:
    """What runs a job there, before a child's own arguments; empty where there is no cluster."""
    if not settings.ray_address:
        return ()
    cluster = RayCluster(
        settings.ray_address,
        settings.ray_cpus,
        settings.ray_gpus,
        str(settings.cache_dir),
        settings.cache_bytes,
        str(settings.work_dir),
    )
    return (sys.executable, "-m", "zoo_trainer.ray_child", json.dumps(asdict(cluster)))
