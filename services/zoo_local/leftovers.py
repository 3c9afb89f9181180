"""Ends what an earlier supervisor of the same data folder left behind."""

import os
import signal
from contextlib import suppress

import psutil

from zoo_local.layout import Layout
from zoo_local.processes import CLUSTER_VARIABLE
from zoo_local.state import is_running, read_state

__all__ = ["end_leftovers"]

GONE_WITHIN_S = 10.0


def end_leftovers(layout: Layout) -> list[int]:
    """Kill every process of this cluster but the caller; their pids. Call it while holding the cluster's lock.

    A process is this cluster's if the state file has its pid and start time, or its environment names the data folder.
    """
    state = read_state(layout.state)
    recorded = {r.pid for r in state.processes if is_running(r.pid, r.start_time)} if state else set[int]()
    found = [process for process in psutil.process_iter() if process.pid in recorded or _carries_mark(process, layout)]
    for process in found:
        with suppress(psutil.NoSuchProcess):
            process.send_signal(signal.SIGKILL)
    psutil.wait_procs(found, timeout=GONE_WITHIN_S)
    return [process.pid for process in found]


def _carries_mark(process: psutil.Process, layout: Layout) -> bool:
    try:
        return process.pid != os.getpid() and process.environ().get(CLUSTER_VARIABLE) == str(layout.root)
    except (psutil.AccessDenied, psutil.NoSuchProcess, OSError):  # not ours, or gone
        return False
