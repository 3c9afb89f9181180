"""Where a cluster on this machine keeps everything: one folder, that no other cluster shares.

DATA/
  cluster.json      what runs now: process ids, state, URL
  lock              held by the supervisor for as long as it lives
  ports.json        kept over restarts
  secrets/          identities, admin key, passwords; only the owner can read them
  seaweedfs/        the S3 store
  redis/            the append-only file
  artifact/ catalog/ training/  a SQLite database each
  trainer/          rows, checkpoints and results of jobs in hand
  cache/            the node cache that workers and trainer share
  envoy/ endpoints/   rendered configuration; the workers' addresses, written by the gateway
  logs/             a file for each process, rotated
"""

import shutil
from dataclasses import dataclass
from pathlib import Path

import platformdirs

from zoo_local.errors import DataUnusable, DiskFull

__all__ = ["Layout", "default_root", "prepare"]

# SeaweedFS divides folders at commas, SQLite's URL ends at a question mark, redis.conf quotes with both.
FORBIDDEN = frozenset(",?\"'\\\n\r\0")
LEAST_FREE_BYTES = 1 << 30


@dataclass(frozen=True, slots=True)
class Layout:
    """Every path of a cluster, from its data folder."""

    root: Path

    @property
    def state(self) -> Path:
        return self.root / "cluster.json"

    @property
    def lock(self) -> Path:
        return self.root / "lock"

    @property
    def ports(self) -> Path:
        return self.root / "ports.json"

    @property
    def secrets(self) -> Path:
        return self.root / "secrets"

    @property
    def seaweedfs(self) -> Path:
        return self.root / "seaweedfs"

    @property
    def redis(self) -> Path:
        return self.root / "redis"

    @property
    def artifact(self) -> Path:
        return self.root / "artifact"

    @property
    def catalog(self) -> Path:
        return self.root / "catalog"

    @property
    def training(self) -> Path:
        return self.root / "training"

    @property
    def trainer(self) -> Path:
        return self.root / "trainer"

    @property
    def cache(self) -> Path:
        return self.root / "cache"

    @property
    def envoy(self) -> Path:
        return self.root / "envoy"

    @property
    def endpoints(self) -> Path:
        return self.root / "endpoints"

    @property
    def logs(self) -> Path:
        return self.root / "logs"

    @property
    def redis_config(self) -> Path:
        return self.redis / "redis.conf"

    @property
    def envoy_config(self) -> Path:
        return self.envoy / "envoy.yaml"

    def log(self, process: str) -> Path:
        return self.logs / f"{process}.log"


def default_root() -> Path:
    return platformdirs.user_data_path("modelzoo") / "default"


def prepare(layout: Layout) -> None:
    """Make the folders, for the owner alone. DataUnusable where that fails, DiskFull where little is left."""
    unusable = FORBIDDEN & set(str(layout.root))
    if unusable:
        raise DataUnusable(f"{layout.root}: a data folder's name cannot contain {' '.join(map(repr, unusable))}")
    folders = (
        layout.secrets,
        layout.seaweedfs,
        layout.redis,
        layout.artifact,
        layout.catalog,
        layout.training,
        layout.trainer,
        layout.cache,
        layout.envoy,
        layout.endpoints,
        layout.logs,
    )
    try:
        layout.root.mkdir(parents=True, exist_ok=True)
        for folder in folders:
            folder.mkdir(mode=0o700, exist_ok=True)
        free_bytes = shutil.disk_usage(layout.root).free
    except OSError as error:
        raise DataUnusable(f"cannot keep data in {layout.root}: {error.strerror}; choose with --data") from error
    if free_bytes < LEAST_FREE_BYTES:
        raise DiskFull(
            f"the disk of {layout.root} has {free_bytes >> 20} MiB left, a cluster needs {LEAST_FREE_BYTES >> 20}: "
            "free some, or choose another disk with --data"
        )
