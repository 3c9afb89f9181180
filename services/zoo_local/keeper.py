"""Keeps one process running: starts it, asks it until it serves, starts it again when it ends, stops it at last."""

import asyncio
import math
import signal
import time
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

from zoo_local.child import Child
from zoo_local.output import ProcessLog
from zoo_local.processes import Process

__all__ = ["PROBE_EVERY_S", "Backoff", "Keeper", "ProcessState"]

PROBE_EVERY_S = 0.1
# So many starts in a row that came to nothing are worth telling people about.
FAILING_AFTER = 3
# A day of failures would otherwise make a number that no float holds.
DOUBLINGS_MAX = 32


class ProcessState(StrEnum):
    WAITING = "waiting"
    STARTING = "starting"
    SERVING = "serving"
    RESTARTING = "restarting"
    FAILING = "failing"
    STOPPING = "stopping"
    STOPPED = "stopped"


@dataclass(frozen=True, slots=True)
class Backoff:
    """How long to wait before the next start, by the number of failures in a row."""

    first_s: float = 0.2
    most_s: float = 5.0
    forget_after_s: float = 30.0

    def after(self, failures: int) -> float:
        doublings = min(failures - 1, DOUBLINGS_MAX)
        return min(self.first_s * 2**doublings, self.most_s)


class Keeper:
    """`run` until `stop`. What stands in the attributes is current; `changed` is called after each change."""

    def __init__(
        self, process: Process, cwd: Path, log: ProcessLog, changed: Callable[[], None], backoff: Backoff | None = None
    ) -> None:
        self.process = process
        self.log = log
        self.state = ProcessState.WAITING
        self.serving = asyncio.Event()
        self.child: Child | None = None
        self.restarts = 0
        self._hung = False
        self._cwd = cwd
        self._changed = changed
        self._backoff = backoff or Backoff()
        self._stopping = asyncio.Event()
        self._stopped = asyncio.Event()
        self._hurry = asyncio.Event()

    async def run(self, awaits: Sequence["Keeper"] = ()) -> None:
        """Keep the process running, from when all of `awaits` have served. Returns after `stop`."""
        try:
            await _race(self._stopping.wait(), _all_serving(awaits))
            failures = 0
            while not self._stopping.is_set():
                served_s = await self._run_once()
                failures = 1 if served_s > self._backoff.forget_after_s else failures + 1
                if not self._stopping.is_set():
                    await self._pause(failures)
        finally:
            self._set(ProcessState.STOPPED)
            self._stopped.set()

    async def stop(self) -> None:
        """End the process, drained where it can be; return when it is gone. `run` must be running, or have run."""
        if not self._stopped.is_set():
            self._set(ProcessState.STOPPING)
            if self.child is not None and self.process.drain is not None:
                await _race(self._hurry.wait(), self.child.ended(), self.process.drain.drain())
            self._stopping.set()
            await self._stopped.wait()

    def kill(self) -> None:
        """End the process at once, a `stop` in progress too."""
        self._stopping.set()
        self._hurry.set()
        if self.child is not None:
            self.child.kill()

    async def _run_once(self) -> float:
        """Run the process until it ends or is to stop; the seconds that it served."""
        self._tidy()
        child = self.child = await Child.start(self.process, self._cwd, self.log)
        self._set(ProcessState.STARTING)
        served_since = math.inf
        try:
            await _race(self._stopping.wait(), child.ended(), self._until_serving())
            if self.state is ProcessState.SERVING:
                served_since = time.monotonic()
                await _race(self._stopping.wait(), child.ended())
            patience_s = 0 if self._hurry.is_set() else self.process.stop_s
            if self._stopping.is_set() and not await child.stop(patience_s):
                self.log.note(f"did not stop within {patience_s:g} s and was killed")
        finally:
            child.kill()
            status = await child.ended()
            self.child = None
            self._tidy()
        self.log.note(f"ended by {signal.Signals(-status).name}" if status < 0 else f"ended with exit status {status}")
        return max(0.0, time.monotonic() - served_since)

    def _tidy(self) -> None:
        for path in self.process.leaves:
            path.unlink(missing_ok=True)

    async def _until_serving(self) -> None:
        began = time.monotonic()
        while time.monotonic() - began < self.process.start_s:
            if await self.process.ready.answers():
                self.log.note(f"serves after {time.monotonic() - began:.1f} s")
                self._hung = False
                self._set(ProcessState.SERVING)
                self.serving.set()
                return
            await asyncio.sleep(PROBE_EVERY_S)
        self.log.note(f"does not serve after {self.process.start_s:g} s")
        self._hung = True

    async def _pause(self, failures: int) -> None:
        delay_s = self._backoff.after(failures)
        self.restarts += 1
        self.log.note(f"starts again in {delay_s:g} s")
        self._set(ProcessState.FAILING if self._hung or failures >= FAILING_AFTER else ProcessState.RESTARTING)
        await _race(self._stopping.wait(), asyncio.sleep(delay_s))

    def _set(self, state: ProcessState) -> None:
        if self.state is not ProcessState.STOPPING or state is ProcessState.STOPPED:
            self.state = state
            self._changed()


async def _all_serving(keepers: Sequence[Keeper]) -> None:
    for keeper in keepers:
        await keeper.serving.wait()


async def _race(*contenders: Coroutine[Any, Any, object]) -> None:
    """Return when the first has ended, having cancelled the others; raise what any raised."""
    tasks = [asyncio.create_task(contender) for contender in contenders]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        outcomes = await asyncio.gather(*tasks, return_exceptions=True)
    for outcome in outcomes:
        if isinstance(outcome, Exception):
            raise outcome
