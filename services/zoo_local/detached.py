"""Clusters that run on their own: started, awaited and stopped from another process."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass

from zoo_local.cluster import ALREADY_UP, Options, locked
from zoo_local.errors import AlreadyUp, StartFailed
from zoo_local.layout import Layout, prepare
from zoo_local.leftovers import end_leftovers
from zoo_local.state import ClusterState, Phase, is_running, read_running, read_state

__all__ = ["Started", "start", "stop"]

POLL_S = 0.05
# Longer than every process's own limit in a row.
STOP_WITHIN_S = 90.0
SUPERVISOR = "supervisor"

Told = Callable[[list[str]], None]


@dataclass(frozen=True, slots=True)
class Started:
    """A cluster that serves at `url`; `already` where it did before."""

    url: str
    already: bool


def start(options: Options, awaited: Told) -> Started:
    """Return when everything serves; `awaited` is told again and again which processes do not yet.

    Raises what keeps the cluster from coming up; then nothing is left running.
    """
    layout = Layout(options.root)
    prepare(layout)
    if read_running(layout.state) is not None:
        return Started(_await_other(layout, awaited), already=True)
    supervisor = _spawn(options, layout)
    try:
        while supervisor.poll() is None:
            state = read_state(layout.state)
            if state is not None and state.pid == supervisor.pid:
                if state.phase is Phase.SERVING:
                    return Started(state.url, already=False)
                awaited(_not_serving(state))
            time.sleep(POLL_S)
    except BaseException:  # whoever waits has been interrupted: no cluster is wanted
        supervisor.terminate()
        supervisor.wait()
        raise
    if supervisor.returncode == ALREADY_UP:  # somebody else was faster
        return Started(_await_other(layout, awaited), already=True)
    state = read_state(layout.state)
    if state is not None and state.pid == supervisor.pid and state.message:
        raise StartFailed(state.message)
    raise StartFailed(f"the cluster ended while it started; its log is {layout.log(SUPERVISOR)}")


def stop(layout: Layout, awaited: Told) -> bool:
    """Stop the cluster in order and return when nothing of it is left; False where none was up."""
    state = read_running(layout.state)
    if state is not None:
        os.kill(state.pid, signal.SIGTERM)
        deadline = time.monotonic() + STOP_WITHIN_S
        while is_running(state.pid, state.start_time):
            if time.monotonic() > deadline:
                os.kill(state.pid, signal.SIGKILL)
            latest = read_state(layout.state)
            awaited([process.name for process in latest.processes if process.pid] if latest else [])
            time.sleep(POLL_S)
    if not layout.root.exists():
        return False
    with locked(layout):
        left = end_leftovers(layout)
    return state is not None or bool(left)


def _spawn(options: Options, layout: Layout) -> subprocess.Popen[bytes]:
    """The supervisor in a session of its own, so that nothing that happens to this terminal reaches it."""
    command = (sys.executable, "-P", "-m", "zoo_local.cluster", "--data", str(options.root))
    with layout.log(SUPERVISOR).open("wb") as log:
        return subprocess.Popen(
            (*command, "--port", str(options.port), "--workers", str(options.workers)),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            cwd=layout.root,
            start_new_session=True,
        )


def _await_other(layout: Layout, awaited: Told) -> str:
    while (state := read_running(layout.state)) is not None:
        if state.phase is Phase.STOPPING:
            raise AlreadyUp(f"the cluster on {layout.root} is just stopping: try again when it has")
        if state.phase is Phase.SERVING:
            return state.url
        awaited(_not_serving(state))
        time.sleep(POLL_S)
    raise StartFailed(f"the cluster on {layout.root} that was about to start has ended: see {layout.logs}")


def _not_serving(state: ClusterState) -> list[str]:
    return [process.name for process in state.processes if process.state != "serving"]
