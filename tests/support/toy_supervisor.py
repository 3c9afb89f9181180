"""A supervisor of toy processes: in a test's own loop, or as a process that a test may kill.

python -m support.toy_supervisor FOLDER     two toys, the second with a child of its own
"""

import asyncio
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from support.servers import free_ports
from zoo_local.keeper import Backoff
from zoo_local.layout import Layout, prepare
from zoo_local.probe import HttpOk
from zoo_local.processes import CLUSTER_VARIABLE, Process
from zoo_local.state import ClusterState, ProcessRecord, read_state
from zoo_local.supervisor import Supervisor

TOY = str(Path(__file__).with_name("toy_process.py"))
QUICK = Backoff(first_s=0.02, most_s=0.1)


@dataclass(frozen=True, slots=True)
class ToyCluster:
    layout: Layout
    supervisor: Supervisor
    task: asyncio.Task[None]

    async def serving(self) -> ClusterState | None:
        state = self.state()
        return state if state.phase == "serving" and all(p.state == "serving" for p in state.processes) else None

    def state(self) -> ClusterState:
        state = read_state(self.layout.state)
        assert state is not None
        return state

    def process(self, name: str) -> ProcessRecord:
        return next(process for process in self.state().processes if process.name == name)

    def events(self) -> list[str]:
        """`started` and `stopped` by name, in the order of their happening."""
        names = {str(process.port): process.name for process in self.state().processes}
        lines = [line.split() for line in events_path(self.layout).read_text().splitlines()]
        return [f"{what} {names[port]}" for what, port in lines]


def toy(layout: Layout, name: str, *flags: str, needs: tuple[str, ...] = (), stop_s: float = 10.0) -> Process:
    port = free_ports(1)[0]
    env = {"TOY_EVENTS": str(events_path(layout)), CLUSTER_VARIABLE: str(layout.root)}
    argv = (sys.executable, "-S", TOY, str(port), *flags)
    return Process(name, argv, env, HttpOk(port, "/"), port, needs=needs, awaits=needs, stop_s=stop_s)


def events_path(layout: Layout) -> Path:
    return layout.root / "events"


@asynccontextmanager
async def toys(layout: Layout, *processes: Process) -> AsyncIterator[ToyCluster]:
    """Supervised in this loop; stopped at the end, if the test did not."""
    supervisor = Supervisor(layout, processes, "http://toys", backoff=QUICK)
    task = asyncio.create_task(supervisor.run())
    try:
        yield ToyCluster(layout, supervisor, task)
    finally:
        supervisor.hurry()
        await asyncio.gather(task, return_exceptions=True)


async def supervise_two(folder: Path) -> None:
    layout = Layout(folder)
    prepare(layout)
    processes = (toy(layout, "alone"), toy(layout, "parent", "--with-child"))
    supervisor = Supervisor(layout, processes, "http://toys")
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, supervisor.stop)
    await supervisor.run()


if __name__ == "__main__":
    asyncio.run(supervise_two(Path(sys.argv[1])))
