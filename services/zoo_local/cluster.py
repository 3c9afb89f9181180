"""Runs a whole cluster on a data folder, from an empty one or from what is there, until it is told to stop.

python -m zoo_local.cluster --data DIR     as `zoo up --detach` starts it
"""

import argparse
import asyncio
import os
import signal
import sys
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil
from filelock import FileLock, Timeout

from modelzoo.errors import ZooError
from zoo_local.configuration import write_configuration
from zoo_local.errors import AlreadyUp, StartFailed
from zoo_local.layout import Layout, prepare
from zoo_local.leftovers import end_leftovers
from zoo_local.output import Console
from zoo_local.ports import GRPC_DISTANCE, HeldPorts, choose_ports
from zoo_local.probe import GatewayComplete
from zoo_local.processes import SEAWEEDFS_PARTS, Plan, plan_processes, port_names
from zoo_local.state import ClusterState, Phase, read_state, write_state
from zoo_local.supervisor import Supervisor
from zoo_server.credentials import make_credentials

__all__ = ["ALREADY_UP", "Options", "available_cores", "listened", "locked", "make_plan", "run_cluster"]

# Exit status of a supervisor that found another one on its data folder.
ALREADY_UP = 3

# Of the machine's memory, for the weights of all workers together: the rest is theirs for computing, and others'.
MODELS_SHARE = 0.4


@dataclass(frozen=True, slots=True)
class Options:
    """What a person may choose; `port` 0 takes the one used before, or a free one."""

    root: Path
    port: int = 0
    workers: int = 1


def run_cluster(options: Options, console: Console | None, on_serving: Callable[[str], None]) -> None:
    """Run until SIGINT, SIGTERM or SIGHUP, then drain; a second signal kills.

    `on_serving` gets the URL when everything serves. Raises AlreadyUp where a cluster runs on the same folder, another
    ZooError where this one does not come up.
    """
    layout = Layout(options.root)
    prepare(layout)
    with locked(layout):
        end_leftovers(layout)
        try:
            plan = make_plan(options, layout)
            processes = plan_processes(plan)
            write_configuration(plan)
            with HeldPorts(listened(plan)):
                url = f"http://127.0.0.1:{plan.ports['envoy']}"
                complete = GatewayComplete(plan.ports["envoy"], plan.ports["envoy.admin"], plan.workers)
                supervisor = Supervisor(layout, processes, url, complete, console)
                asyncio.run(_supervise(supervisor, lambda: on_serving(url)))
        except StartFailed:  # the supervisor has written it, with its processes
            raise
        except ZooError as error:
            start_time = psutil.Process().create_time()
            write_state(layout.state, ClusterState(os.getpid(), start_time, Phase.FAILED, "", str(error)))
            raise


@contextmanager
def locked(layout: Layout) -> Generator[None]:
    """For the length of the block nobody else supervises the data folder or cleans up there; AlreadyUp if one does."""
    try:
        with FileLock(layout.lock, timeout=0):
            yield
    except Timeout:
        state = read_state(layout.state)
        raise AlreadyUp(f"a cluster is already up on {layout.root}: {state.url if state else 'starting'}") from None


def make_plan(options: Options, layout: Layout) -> Plan:
    """What the processes are made from; credentials and ports are those used before, or made."""
    fixed = {"envoy": options.port} if options.port else {}
    return Plan(
        layout=layout,
        credentials=make_credentials(layout.secrets),
        ports=choose_ports(layout.ports, port_names(options.workers), fixed),
        workers=options.workers,
        worker_memory_bytes=int(psutil.virtual_memory().total * MODELS_SHARE) // options.workers,
        worker_threads=max(1, available_cores() // options.workers),
        inherited=dict(os.environ),
    )


def available_cores() -> int:
    """Those that this process may use."""
    return len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1


def listened(plan: Plan) -> list[int]:
    """Every port that a process of the plan listens on."""
    seaweedfs_grpc = [plan.ports[f"seaweedfs.{part}"] + GRPC_DISTANCE for part in SEAWEEDFS_PARTS]
    return [*(plan.ports[name] for name in port_names(plan.workers)), *seaweedfs_grpc]


async def _supervise(supervisor: Supervisor, on_serving: Callable[[], None]) -> None:
    asked = False

    def ask() -> None:
        nonlocal asked
        if asked:
            supervisor.hurry()
        asked = True
        supervisor.stop()

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        asyncio.get_running_loop().add_signal_handler(number, ask)
    await supervisor.run(on_serving)


def main() -> int:
    """The supervisor without a terminal: what it has to say stands in the state file and on stderr."""
    parser = argparse.ArgumentParser(prog="zoo_local.cluster", description="Supervises a cluster; see `zoo up`.")
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--workers", type=int, default=1)
    given = parser.parse_args()
    try:
        run_cluster(Options(given.data, given.port, given.workers), console=None, on_serving=lambda url: None)
    except AlreadyUp:
        return ALREADY_UP
    except ZooError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
