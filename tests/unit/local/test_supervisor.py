"""The supervisor, over toy processes."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from support.toy_supervisor import toy, toys
from support.waiting import eventually
from zoo_local.errors import StartFailed
from zoo_local.layout import Layout, prepare
from zoo_local.leftovers import end_leftovers
from zoo_local.processes import CLUSTER_VARIABLE
from zoo_local.state import Phase, is_running, read_state

TESTS = Path(__file__).parents[2]


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    layout = Layout(tmp_path)
    prepare(layout)
    return layout


async def test_a_process_starts_when_what_it_needs_serves(layout: Layout) -> None:
    async with toys(layout, toy(layout, "below", "--late", "0.3"), toy(layout, "above", needs=("below",))) as cluster:
        await eventually(cluster.serving)
        assert cluster.events() == ["started below", "started above"]
        assert "serves after" in layout.log("below").read_text()


async def test_what_needs_others_stops_before_them(layout: Layout) -> None:
    below, middle, above = (
        toy(layout, "below"),
        toy(layout, "middle", needs=("below",)),
        toy(layout, "above", needs=("middle",)),
    )
    async with toys(layout, below, middle, above) as cluster:
        await eventually(cluster.serving)
        cluster.supervisor.stop()
        await cluster.task
        assert cluster.events()[3:] == ["stopped above", "stopped middle", "stopped below"]
        assert cluster.state().phase is Phase.STOPPED


async def test_a_killed_process_serves_again_and_its_neighbours_go_on(layout: Layout) -> None:
    async with toys(layout, toy(layout, "victim"), toy(layout, "neighbour")) as cluster:
        before = await eventually(cluster.serving)
        victim = before.processes[0]
        os.kill(victim.pid, signal.SIGKILL)

        async def restarted() -> bool:
            return cluster.process("victim").restarts == 1 and cluster.process("victim").state == "serving"

        await eventually(restarted)
        assert cluster.process("victim").pid != victim.pid
        assert cluster.process("neighbour") == before.processes[1]


async def test_a_first_start_that_keeps_failing_is_given_up_with_the_end_of_the_log(layout: Layout) -> None:
    async with toys(layout, toy(layout, "sound"), toy(layout, "broken", "--fail")) as cluster:
        with pytest.raises(StartFailed, match=r"broken does not come up(?s:.*)the toy was told to fail"):
            await cluster.task
        assert cluster.state().phase is Phase.FAILED
        assert "told to fail" in cluster.state().message
        assert cluster.process("sound").state == "stopped"


async def test_a_process_that_does_not_stop_is_killed(layout: Layout) -> None:
    async with toys(layout, toy(layout, "stubborn", "--deaf-to-term", stop_s=0.2)) as cluster:
        before = await eventually(cluster.serving)
        cluster.supervisor.stop()
        await cluster.task
        assert not is_running(before.processes[0].pid, before.processes[0].start_time)
        assert "did not stop within 0.2 s and was killed" in layout.log("stubborn").read_text()


async def test_stopping_while_something_still_starts_ends_it(layout: Layout) -> None:
    async with toys(layout, toy(layout, "late", "--late", "60"), toy(layout, "above", needs=("late",))) as cluster:

        async def started() -> bool:
            return cluster.process("late").pid > 0

        await eventually(started)
        pid = cluster.process("late").pid
        cluster.supervisor.stop()
        await cluster.task
        assert not psutil.pid_exists(pid)
        assert cluster.process("above").state == "stopped"


async def test_hurrying_kills_what_would_take_long_to_stop(layout: Layout) -> None:
    async with toys(layout, toy(layout, "stubborn", "--deaf-to-term", stop_s=100)) as cluster:
        await eventually(cluster.serving)
        cluster.supervisor.stop()

        async def stopping() -> bool:
            return cluster.process("stubborn").state == "stopping"

        await eventually(stopping)
        cluster.supervisor.hurry()
        await cluster.task


async def test_what_a_process_started_ends_with_it(layout: Layout) -> None:
    async with toys(layout, toy(layout, "parent", "--with-child")) as cluster:
        state = await eventually(cluster.serving)
        child = psutil.Process(state.processes[0].pid).children()[0]
        cluster.supervisor.stop()
        await cluster.task
        await eventually(lambda: _gone(child))


async def test_a_supervisor_killed_leaves_nothing_once_the_next_one_has_cleaned_up(layout: Layout) -> None:
    supervisor = _start_two_toys(layout)
    state = read_state(layout.state)
    try:
        await eventually(lambda: _serves(layout))
        state = read_state(layout.state)
        assert state is not None
        orphan = psutil.Process(state.processes[1].pid).children()[0]
    finally:
        supervisor.kill()
        supervisor.wait()
    for process in state.processes:  # the kernel ended them with their parent
        await eventually(lambda pid=process.pid, start=process.start_time: _ended(pid, start))
    assert orphan.is_running()
    assert end_leftovers(layout) == [orphan.pid]
    assert not orphan.is_running()


async def test_leftovers_of_other_clusters_are_left_alone(layout: Layout) -> None:
    other = {CLUSTER_VARIABLE: f"{layout.root}-2"}
    with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"], env=other) as process:
        assert end_leftovers(layout) == []
        assert process.poll() is None
        process.kill()


def _start_two_toys(layout: Layout) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "support.toy_supervisor", str(layout.root)]
    return subprocess.Popen(command, env={**os.environ, "PYTHONPATH": str(TESTS)})


async def _serves(layout: Layout) -> bool:
    state = read_state(layout.state)
    return state is not None and state.phase is Phase.SERVING


async def _gone(process: psutil.Process) -> bool:
    return not process.is_running() or process.status() == psutil.STATUS_ZOMBIE


async def _ended(pid: int, start_time: float) -> bool:
    return not is_running(pid, start_time)
