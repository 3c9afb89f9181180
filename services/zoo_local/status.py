"""What can be said about a cluster from outside: its processes as they are now, and how to get in."""

import time
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from zoo_local.errors import NotUp
from zoo_local.keeper import ProcessState
from zoo_local.layout import Layout
from zoo_local.state import ClusterState, Phase, ProcessRecord, read_running, read_state
from zoo_server.credentials import admin_key_path

__all__ = ["ClusterAccess", "ClusterReport", "ProcessReport", "read_access", "read_report"]


@dataclass(frozen=True, slots=True)
class ProcessReport:
    """A process now; `pid` 0, and nothing measured, while it does not run."""

    name: str
    pid: int
    state: ProcessState
    uptime_s: float
    restarts: int
    port: int
    memory_bytes: int


@dataclass(frozen=True, slots=True)
class ClusterReport:
    """`serving` where every process is; `pid` is the supervisor's."""

    url: str
    data: Path
    pid: int
    phase: Phase
    serving: bool
    processes: tuple[ProcessReport, ...]


@dataclass(frozen=True, slots=True)
class ClusterAccess:
    """Where a cluster serves, and the key of its administrator."""

    url: str
    key: str = field(repr=False)


def read_report(layout: Layout) -> ClusterReport:
    """The cluster on this data folder; NotUp where none runs."""
    state = _running(layout)
    return ClusterReport(
        url=state.url,
        data=layout.root,
        pid=state.pid,
        phase=state.phase,
        serving=state.phase is Phase.SERVING and all(p.state is ProcessState.SERVING for p in state.processes),
        processes=tuple(_measured(process) for process in state.processes),
    )


def read_access(layout: Layout) -> ClusterAccess:
    """How to reach the cluster on this data folder; NotUp where none runs."""
    return ClusterAccess(_running(layout).url, admin_key_path(layout.secrets).read_text())


def _running(layout: Layout) -> ClusterState:
    state = read_running(layout.state)
    if state is not None:
        return state
    last = read_state(layout.state)
    message = f"no zoo is up on {layout.root}"
    if last is not None and last.phase is Phase.FAILED:
        message += f"; the last start failed: {last.message.splitlines()[0]}"
    raise NotUp(message, layout.root)


def _measured(process: ProcessRecord) -> ProcessReport:
    try:
        memory_bytes = psutil.Process(process.pid).memory_info().rss if process.pid else 0
    except psutil.NoSuchProcess:  # it ended just now
        memory_bytes = 0
    return ProcessReport(
        name=process.name,
        pid=process.pid,
        state=process.state,
        uptime_s=time.time() - process.start_time if process.pid else 0.0,
        restarts=process.restarts,
        port=process.port,
        memory_bytes=memory_bytes,
    )
