"""What runs on a data folder, as its supervisor last wrote it, for commands in other processes to read."""

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

import psutil
from pydantic import TypeAdapter, ValidationError

from zoo_local.keeper import ProcessState

__all__ = ["ClusterState", "Phase", "ProcessRecord", "is_running", "read_running", "read_state", "write_state"]

# Between what the kernel reports of one process at different times.
START_TOLERANCE_S = 0.05


class Phase(StrEnum):
    STARTING = "starting"
    SERVING = "serving"
    STOPPING = "stopping"
    STOPPED = "stopped"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class ProcessRecord:
    """A process; `pid` 0 while it does not run. Times in Unix seconds; `start_time` is the kernel's."""

    name: str
    state: ProcessState
    port: int
    restarts: int
    pid: int = 0
    start_time: float = 0.0


@dataclass(frozen=True, slots=True)
class ClusterState:
    """The supervisor's own pid and start time, where the cluster serves, and its processes.

    `message` says what went wrong in phase FAILED, and is empty in any other.
    """

    pid: int
    start_time: float
    phase: Phase
    url: str
    message: str = ""
    processes: tuple[ProcessRecord, ...] = ()


STATES = TypeAdapter(ClusterState)


def write_state(path: Path, state: ClusterState) -> None:
    """Replace the file; a reader sees the old one or the new one."""
    unfinished = path.with_suffix(".new")
    unfinished.write_bytes(STATES.dump_json(state, indent=1))
    unfinished.rename(path)


def read_state(path: Path) -> ClusterState | None:
    """What was last written there; None where nothing was, or nothing that this release understands."""
    try:
        return STATES.validate_json(path.read_bytes())
    except (FileNotFoundError, ValidationError):
        return None


def read_running(path: Path) -> ClusterState | None:
    """What was last written there by a supervisor that still runs and has not come to its end."""
    state = read_state(path)
    if state is None or state.phase in (Phase.STOPPED, Phase.FAILED) or not is_running(state.pid, state.start_time):
        return None
    return state


def is_running(pid: int, start_time: float) -> bool:
    """That very process runs, not another that was given its number, nor what is left of it until its parent looks."""
    try:
        process = psutil.Process(pid)
        is_same = pid > 0 and abs(process.create_time() - start_time) < START_TOLERANCE_S
        return is_same and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
