"""The cache between processes: some are killed with -9, one has a full disk."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from modelzoo.cache import NodeCache
from modelzoo.errors import ResourceExhausted
from support.cache_process import BLOB, Source, content_of, file_of
from support.waiting import eventually

TESTS = Path(__file__).parents[2]
ROOMY = 1 << 40
SIZE = 6 * BLOB

Start = Callable[..., subprocess.Popen[str]]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Starts a process that holds the content of a seed; all that still run are killed at the end."""
    running: list[subprocess.Popen[str]] = []

    def start(*options: object, seed: int = 1, budget: int = ROOMY) -> subprocess.Popen[str]:
        arguments = [tmp_path / "cache", budget, tmp_path / "log", seed, SIZE, *options]
        command = [sys.executable, "-m", "support.cache_process", *map(str, arguments)]
        environ = {**os.environ, "PYTHONPATH": str(TESTS)}
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environ)
        running.append(process)
        return process

    yield start
    for process in running:
        process.kill()
        process.wait()
        for stream in (process.stdin, process.stdout):
            assert stream is not None
            stream.close()


def says(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def kill(process: subprocess.Popen[str]) -> None:
    process.send_signal(signal.SIGKILL)
    process.wait()


def fetched(tmp_path: Path) -> list[int]:
    return [int(line) for line in (tmp_path / "log").read_text().split()]


def waiting_for_a_lock() -> set[int]:
    """The processes that the kernel lists as waiting (`->`) for a lock of somebody."""
    lines = [line.split() for line in Path("/proc/locks").read_text().splitlines()]
    return {int(words[5]) for words in lines if words[1] == "->"}


ALL = list(range(0, SIZE, BLOB))


def test_processes_that_ask_at_once_share_one_fetch(tmp_path: Path, start: Start):
    processes = [start() for _ in range(5)]
    assert [says(process) for process in processes] == ["held"] * 5
    assert fetched(tmp_path) == ALL


def test_f29_what_a_killed_process_had_fetched_is_not_fetched_again(tmp_path: Path, start: Start):
    first = start("--stall-after", 4)
    assert says(first) == "stalled"
    kill(first)
    assert os.listdir(tmp_path / "cache" / "files") == []
    assert says(start()) == "held"
    assert fetched(tmp_path) == ALL
    assert os.listdir(tmp_path / "cache" / "parts") == []


def test_a_waiting_process_takes_over_from_a_killed_one(tmp_path: Path, start: Start):
    first = start("--stall-after", 2)
    assert says(first) == "stalled"
    waiting = [start(), start()]
    kill(first)
    assert [says(process) for process in waiting] == ["held", "held"]
    assert fetched(tmp_path) == ALL


async def test_processes_that_waited_for_another_fetch_nothing_themselves(tmp_path: Path, start: Start):
    first = start("--stall-after", 2)
    assert says(first) == "stalled"
    waiting = {start() for _ in range(3)}

    async def all_wait() -> bool:
        return {process.pid for process in waiting} <= waiting_for_a_lock()

    await eventually(all_wait)
    assert first.stdin is not None
    first.stdin.close()
    assert says(first) == "held"
    assert [says(process) for process in waiting] == ["held"] * 3
    assert fetched(tmp_path) == ALL
    assert os.listdir(tmp_path / "cache" / "parts") == []


def test_what_another_process_holds_is_evicted_only_after_its_death(tmp_path: Path, start: Start):
    holder = start()
    assert says(holder) == "held"
    content = content_of(2, SIZE)
    cache = NodeCache(tmp_path / "cache", SIZE + BLOB)
    with pytest.raises(ResourceExhausted), cache.hold(file_of(content), Source(content)):
        pass
    kill(holder)
    with cache.hold(file_of(content), Source(content)):
        assert os.listdir(tmp_path / "cache" / "files") == [file_of(content).sha256]


FULL_DISK = """
import os, sys
from pathlib import Path
from modelzoo.cache import NodeCache
from modelzoo.errors import ResourceExhausted
from support.cache_process import Source, content_of, file_of

root, MIB = Path(sys.argv[1]), 1 << 20
cache = NodeCache(root, 1 << 40)
old, new, large = content_of(1, 3 * MIB), content_of(2, 3 * MIB), content_of(3, 20 * MIB)
with cache.hold(file_of(old), Source(old)):
    pass
with cache.hold(file_of(new), Source(new)):
    pass
with cache.hold(file_of(old), Source(old)) as path:
    source = Source(large)
    try:
        with cache.hold(file_of(large), source):
            raise AssertionError("20 MiB on a disk of 8")
    except ResourceExhausted as error:
        assert error.reason == "DISK_FULL"
    assert source.served == [], "nothing is fetched that has no room"
    assert path.read_bytes() == old, "what is held stays"
    assert os.listdir(root / "parts") == []
    with cache.hold(file_of(new), Source(new)) as again:
        assert again.read_bytes() == new
third = content_of(4, 3 * MIB)
with cache.hold(file_of(third), Source(third)):
    pass
assert len(os.listdir(root / "files")) == 2, "one had to leave"
print("ok")
"""


def test_f25_a_full_disk_is_said_leaves_no_part_and_evicts_what_is_not_in_use(tmp_path: Path):
    mounted = f'mount -t tmpfs -o size=8m tmpfs "{tmp_path}" && exec "$0" "$@"'
    probe = subprocess.run(["unshare", "-rm", "sh", "-c", mounted, "true"], capture_output=True, text=True)
    if probe.returncode:
        assert not os.environ.get("CI"), f"CI must be able to mount a small disk: {probe.stderr.strip()}"
        pytest.skip(f"no small disk can be mounted here: {probe.stderr.strip()}")
    command = ["unshare", "-rm", "sh", "-c", mounted, sys.executable, "-c", FULL_DISK, str(tmp_path / "cache")]
    environ = {**os.environ, "PYTHONPATH": str(TESTS)}
    done = subprocess.run(command, capture_output=True, text=True, env=environ, timeout=60)
    assert (done.stdout, done.stderr) == ("ok\n", "")
