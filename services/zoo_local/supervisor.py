"""Runs the processes of a cluster together: starts them as soon as what they need serves, stops them in reverse."""

import asyncio
import os
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

import psutil

from zoo_local.errors import StartFailed
from zoo_local.keeper import PROBE_EVERY_S, Backoff, Keeper, ProcessState
from zoo_local.layout import Layout
from zoo_local.output import Console, ProcessLog
from zoo_local.probe import Probe
from zoo_local.processes import Process
from zoo_local.state import ClusterState, Phase, ProcessRecord, write_state

__all__ = ["Supervisor"]

COMPLETE_WITHIN_S = 60.0


class Supervisor:
    """`run` once. The cluster serves when every process has, and `complete` answers, where given.

    `stop` begins an orderly end, `hurry` makes it a quick one; both may be called from a signal handler.
    """

    def __init__(
        self,
        layout: Layout,
        processes: Sequence[Process],
        url: str,
        complete: Probe | None = None,
        console: Console | None = None,
        backoff: Backoff | None = None,
    ) -> None:
        self._layout = layout
        self._url = url
        self._complete = complete
        self._console = console
        self._phase = Phase.STARTING
        self._message = ""
        self._start_time = psutil.Process().create_time()
        self._stop = asyncio.Event()
        self._keepers = {
            process.name: Keeper(process, layout.root, self._log(process.name), self._changed, backoff)
            for process in processes
        }

    async def run(self, on_serving: Callable[[], None] | None = None) -> None:
        """Run until `stop`; no process is left when this returns or raises.

        Raises StartFailed, with the end of a log, where a process keeps failing before everything has served once.
        """
        try:
            async with asyncio.TaskGroup() as tasks:
                for keeper in self._keepers.values():
                    tasks.create_task(keeper.run([self._keepers[name] for name in keeper.process.awaits]))
                announcing = tasks.create_task(self._announce(on_serving))
                await self._stop.wait()
                announcing.cancel()
                await self._stop_in_order()
        finally:
            for keeper in self._keepers.values():
                keeper.log.close()
        self._enter(Phase.FAILED if self._message else Phase.STOPPED)
        if self._message:
            raise StartFailed(self._message)

    def stop(self) -> None:
        self._stop.set()

    def hurry(self) -> None:
        self._stop.set()
        for keeper in self._keepers.values():
            keeper.kill()

    async def _announce(self, on_serving: Callable[[], None] | None) -> None:
        for keeper in self._keepers.values():
            await keeper.serving.wait()
        if not await self._is_complete():
            self._message = (
                f"every process serves, but calls do not find their way: see the logs in {self._layout.logs}"
            )
            self._stop.set()
            return
        self._enter(Phase.SERVING)
        if on_serving is not None:
            on_serving()

    async def _is_complete(self) -> bool:
        """Wait for it; False where it does not come about in time."""
        with suppress(TimeoutError):
            async with asyncio.timeout(COMPLETE_WITHIN_S):
                while self._complete is not None and not await self._complete.answers():  # noqa: ASYNC110 - not our state
                    await asyncio.sleep(PROBE_EVERY_S)
                return True
        return False

    async def _stop_in_order(self) -> None:
        """First what nothing needs, then what only that needed, and so on."""
        self._enter(Phase.STOPPING)
        left = dict(self._keepers)
        while left:
            needed = {name for keeper in left.values() for name in keeper.process.needs}
            async with asyncio.TaskGroup() as tasks:
                for name in [name for name in left if name not in needed]:
                    tasks.create_task(left.pop(name).stop())

    def _changed(self) -> None:
        """A keeper has news: tell the state file, and give up where the first start comes to nothing."""
        failing = [k for k in self._keepers.values() if k.state is ProcessState.FAILING]
        if failing and self._phase is Phase.STARTING and not self._message:
            self._message = _failure(failing[0], self._layout.log(failing[0].process.name))
            self._stop.set()
        self._write()

    def _enter(self, phase: Phase) -> None:
        self._phase = phase
        self._write()

    def _write(self) -> None:
        processes = tuple(_record(keeper) for keeper in self._keepers.values())
        message = self._message if self._phase is Phase.FAILED else ""
        state = ClusterState(os.getpid(), self._start_time, self._phase, self._url, message, processes)
        with suppress(OSError):  # a full disk makes `zoo status` stale; it must not end the cluster
            write_state(self._layout.state, state)

    def _log(self, name: str) -> ProcessLog:
        return ProcessLog(name, self._layout.log(name), self._console)


def _record(keeper: Keeper) -> ProcessRecord:
    child = keeper.child
    return ProcessRecord(
        name=keeper.process.name,
        state=keeper.state,
        port=keeper.process.port,
        restarts=keeper.restarts,
        pid=child.pid if child else 0,
        start_time=child.start_time if child else 0.0,
    )


def _failure(keeper: Keeper, log: Path) -> str:
    tail = "\n".join(f"  {line}" for line in keeper.log.tail())
    return f"{keeper.process.name} does not come up; the end of its log, {log}:\n{tail}"
