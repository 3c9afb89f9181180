"""Each process of a cluster, killed with -9 once under a running stream.

What passes through the killed process ends with an error and never as if it were complete; everything else goes on; the
supervisor has the process serving again; what was acknowledged before is still there.
"""

import os
import signal
import threading

import pytest

from modelzoo.client import Client
from modelzoo.errors import ZooError
from modelzoo.generation import Generation
from support.cluster import Cluster
from support.tiny_models import tiny_sentence_encoder
from support.waiting import eventually

CHAT = "zoo/smollm2-135m-instruct"
PROMPT = "Write a long story about a ship."
TOKENS = 150
FIRST_TOKEN_S = 120
END_S = 120
SERVES_AGAIN_S = {"worker": 30}

THROUGH_THE_STREAM = ("worker", "envoy")
BESIDE_THE_STREAM = ("catalog", "artifact", "gateway", "redis", "seaweedfs")

pytestmark = pytest.mark.timeout(600)


class RunningStream:
    """A generation read by a thread of its own from its first piece on."""

    def __init__(self, client: Client) -> None:
        self._generation: Generation = client.generate(CHAT, PROMPT, max_tokens=TOKENS)
        self._first = threading.Event()
        self._thread = threading.Thread(target=self._read, daemon=True)
        self.error: ZooError | None = None
        self._thread.start()
        assert self._first.wait(FIRST_TOKEN_S)

    def _read(self) -> None:
        try:
            for _ in self._generation:
                self._first.set()
        except ZooError as error:
            self.error = error

    def is_running(self) -> bool:
        return self._thread.is_alive()

    def end(self) -> None:
        """Wait for the stream's end; AssertionError if it hangs."""
        self._thread.join(END_S)
        assert not self._thread.is_alive(), "the stream hangs"

    @property
    def is_complete(self) -> bool:
        return self.error is None and self._generation.finish.output_tokens > 0


@pytest.mark.parametrize("process", [*BESIDE_THE_STREAM, *THROUGH_THE_STREAM])
async def test_a_killed_process_hurts_only_what_passes_through_it(
    starters: Cluster, process: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    with Client(starters.url, starters.admin_key) as client:
        model = f"zoo/pushed-before-{process}-died"
        version = client.push(tiny_sentence_encoder(tmp_path_factory.mktemp("tiny")), model)
        client.set_alias(model, "kept", 1)
        stream = RunningStream(client)
        before = starters.process(process).pid
        assert stream.is_running()

        os.kill(before, signal.SIGKILL)

        # From the kill on, while the stream still runs.
        await eventually(lambda: _serves(starters, process, before), within_s=SERVES_AGAIN_S.get(process, 10))
        stream.end()
        if process in THROUGH_THE_STREAM:
            assert not stream.is_complete
            assert stream.error is not None
            assert stream.error.reason == "STREAM_INTERRUPTED"
        else:
            assert stream.is_complete, stream.error
        await eventually(lambda: _answers(client), within_s=30)
        assert client.version(f"{model}@kept").manifest_digest == version.digest.removeprefix("sha256:")
        assert client.pull(model).is_dir()


async def _serves(cluster: Cluster, process: str, before: int) -> bool:
    state = cluster.process(process)
    return state.state == "serving" and state.pid not in (0, before)


async def _answers(client: Client) -> bool:
    return client.complete(CHAT, "Hi", max_tokens=1, timeout_s=20).finish is not None
