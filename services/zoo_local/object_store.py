"""The object store of a cluster on this machine, for a tool: that of the running cluster, or started for a while."""

import asyncio
import json
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from zoo_backup.place import Place
from zoo_backup.source import SOURCES
from zoo_local.cluster import Options, listened, locked, make_plan
from zoo_local.errors import AlreadyUp, NotUp, StartFailed
from zoo_local.keeper import Keeper
from zoo_local.layout import Layout, prepare
from zoo_local.leftovers import end_leftovers
from zoo_local.output import ProcessLog
from zoo_local.ports import HeldPorts
from zoo_local.processes import Plan, Process, plan_processes
from zoo_local.state import Phase, read_running
from zoo_server.credentials import make_credentials
from zoo_store.blobs import S3Credentials

__all__ = ["place_at_rest", "place_of"]

SEAWEEDFS = "seaweedfs"


@asynccontextmanager
async def place_of(layout: Layout) -> AsyncGenerator[Place]:
    """Where the cluster keeps everything, running or not. Raises NotUp where it was never up."""
    if not layout.ports.exists():
        raise NotUp(f"there is no zoo in {layout.root}: name its folder with --data", layout.root)
    state = read_running(layout.state)
    if state is None:
        async with place_at_rest(layout) as place:
            yield place
        return
    if state.phase is not Phase.SERVING:
        raise NotUp(f"the zoo in {layout.root} is {state.phase}: try again when it serves", layout.root)
    plan = Plan(layout, make_credentials(layout.secrets), json.loads(layout.ports.read_text()), 1, 0, 1, {})
    yield _place(plan, plan_processes(plan))


@asynccontextmanager
async def place_at_rest(layout: Layout) -> AsyncGenerator[Place]:
    """The same, its services down for the length of the block; folders are made where they are missing.

    Raises AlreadyUp where the cluster runs.
    """
    if (state := read_running(layout.state)) is not None:
        raise AlreadyUp(f"the zoo in {layout.root} is up at {state.url}: `zoo down` stops it")
    prepare(layout)
    with locked(layout):
        end_leftovers(layout)
        plan = make_plan(Options(layout.root), layout)
        processes = plan_processes(plan)
        with HeldPorts(listened(plan)):
            store = next(process for process in processes if process.name == SEAWEEDFS)
            async with _running(store, layout):
                yield _place(plan, processes)


@asynccontextmanager
async def _running(process: Process, layout: Layout) -> AsyncGenerator[None]:
    log = ProcessLog(process.name, layout.log(process.name), None)
    keeper = Keeper(process, layout.root, log, changed=lambda: None)
    keeping = asyncio.create_task(keeper.run())
    try:
        try:
            async with asyncio.timeout(process.start_s):
                await keeper.serving.wait()
        except TimeoutError:
            raise StartFailed(f"{process.name} does not come up; its log is {layout.log(process.name)}") from None
        yield
    finally:
        await keeper.stop()
        await keeping
        log.close()


def _place(plan: Plan, processes: list[Process]) -> Place:
    settings = {process.name: process.env for process in processes}
    return Place(
        {source.name: settings[source.name]["ZOO_DATABASE_URL"] for source in SOURCES},
        settings["artifact"]["ZOO_BLOBS_URL"],
        S3Credentials(plan.credentials.s3_access_key, plan.credentials.s3_secret_key),
    )
