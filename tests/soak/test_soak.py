"""Random kills under load for as long as asked: `make soak SECONDS=900 SEED=7`; the same seed kills in the same order.

All the while one thread publishes versions and moves an alias, one streams. At the end every version that was
acknowledged is there byte for byte, the alias means the last one that was acknowledged or the one in flight, and no
stream was taken for complete that was not.
"""

import os
import random
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable
from pathlib import Path

import pytest

from modelzoo.client import Client
from modelzoo.errors import ZooError
from support.cluster import Cluster, running_cluster
from support.tiny_models import tiny_llama, tiny_sentence_encoder
from support.waiting import eventually

SECONDS = float(os.environ.get("ZOO_SOAK_SECONDS", "0"))
SEED = int(os.environ.get("ZOO_SOAK_SEED", "1"))
PROCESSES = ("catalog", "artifact", "training", "trainer", "worker", "gateway", "envoy", "redis", "seaweedfs")
BETWEEN_KILLS_S = 4.0
TOKENS = 40
MODEL = "zoo/soak"
CHAT = "zoo/soak-chat"

# Every version is read at the end: of 15 minutes, more than 600.
pytestmark = pytest.mark.timeout(2 * SECONDS + 300)


class Publisher:
    """Publishes directories that differ, one after the other; remembers what was acknowledged."""

    def __init__(self, cluster: Cluster, folder: Path) -> None:
        self._cluster = cluster
        self._folder = folder
        self.acknowledged: dict[int, str] = {}
        self.aliased = 0
        self._count = 0

    def work(self) -> None:
        self._count += 1
        directory = tiny_sentence_encoder(self._folder / str(self._count), seed=self._count)
        with self._cluster.client() as client:
            pushed = client.push(directory, MODEL)
            number = int(pushed.reference.rpartition("@")[2])
            self.acknowledged[number] = pushed.digest
            client.set_alias(MODEL, "newest", number)
            self.aliased = number


class Listener:
    """Streams texts; a text is either whole or ended by an error."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self.whole = 0

    def work(self) -> None:
        with self._cluster.client() as client:
            generation = client.generate(CHAT, "abc", max_tokens=TOKENS, raw=True, timeout_s=60)
            pieces = list(generation)
            assert generation.finish.output_tokens <= TOKENS
            assert pieces or generation.finish.output_tokens
            self.whole += 1


def repeat(work: Callable[[], None], stop: threading.Event, faults: list[BaseException]) -> threading.Thread:
    def run() -> None:
        while not stop.is_set():
            try:
                work()
            except ZooError:
                stop.wait(0.2)
            except BaseException as fault:  # what no caller should ever see
                faults.append(fault)
                return

    thread = threading.Thread(target=run)
    thread.start()
    return thread


async def test_random_kills_under_load_lose_nothing_that_was_acknowledged(tmp_path: Path) -> None:
    dice = random.Random(SEED)
    stop = threading.Event()
    faults: list[BaseException] = []
    (tmp_path / "cluster").mkdir()
    with running_cluster(tmp_path / "cluster") as cluster:
        publisher, listener = Publisher(cluster, tmp_path / "models"), Listener(cluster)
        with cluster.client() as client:
            client.push(tiny_llama(tmp_path / "chat"), CHAT)
        threads = [repeat(worker.work, stop, faults) for worker in (publisher, listener)]
        kills = 0
        deadline = time.monotonic() + SECONDS
        while time.monotonic() < deadline:
            stop.wait(dice.uniform(0, 2 * BETWEEN_KILLS_S))
            victim = cluster.process(dice.choice(PROCESSES))
            if victim.pid:
                os.kill(victim.pid, signal.SIGKILL)
                kills += 1
        stop.set()
        for thread in threads:
            thread.join(120)
            assert not thread.is_alive(), f"a call hangs: {_where(thread)}"
        assert not faults, faults
        with cluster.client() as client:
            await eventually(lambda: _answers(client), within_s=60)
            for number, digest in publisher.acknowledged.items():
                assert client.version(f"{MODEL}@{number}").manifest_digest == digest
                assert client.pull(f"{MODEL}@{number}").is_dir()
            assert client.alias(MODEL, "newest").targets[0].version >= publisher.aliased
    print(f"{kills} kills, {len(publisher.acknowledged)} versions, {listener.whole} whole texts, seed {SEED}")


def _where(thread: threading.Thread) -> str:
    """What it is at, the last call last."""
    frame = sys._current_frames().get(thread.ident or 0)
    return "".join(traceback.format_stack(frame)) if frame is not None else "nowhere any more"


async def _answers(client: Client) -> bool:
    return client.complete(CHAT, "a", max_tokens=1, raw=True, timeout_s=20).finish is not None
