"""Each process of a cluster, killed with -9 once under two running streams: of text, and of a file's bytes.

What passes through the killed process ends with an error and never as if it were complete; everything else goes on; the
supervisor has the process serving again; what was acknowledged before is still there.
"""

import filecmp
import os
import signal
import threading
from pathlib import Path

import grpc
import pytest

from modelzoo.client import Client
from modelzoo.errors import ZooError, from_rpc_error
from modelzoo.generation import Generation
from support.cluster import Cluster
from support.waiting import eventually
from zoo.artifact.v1 import artifact_service_pb2 as pb
from zoo.artifact.v1 import artifact_service_pb2_grpc as rpc

CHAT = "zoo/smollm2-135m-instruct"
PROMPT = "Write a long story about a ship."
TOKENS = 150
FIRST_TOKEN_S = 120
END_S = 120
SERVES_AGAIN_S = {"worker": 30}
# More than all buffers on its way hold, so that it still runs when the process is killed.
FILE_BYTES = 96 << 20

PROCESSES = ("catalog", "artifact", "gateway", "training", "redis", "seaweedfs", "worker", "envoy")
THROUGH = {"text": ("worker", "envoy"), "file": ("artifact", "envoy")}

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


class RunningRead:
    """A file's bytes, read by a thread of its own: the first chunk, and the others once `go_on` was called."""

    def __init__(self, cluster: Cluster, manifest_digest: str) -> None:
        self._cluster = cluster
        self._request = pb.ReadFileRequest(namespace="zoo", manifest_digest=manifest_digest, path="zeros")
        self._first, self._others = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._bytes = 0
        self.error: ZooError | None = None
        self._thread.start()
        assert self._first.wait(FIRST_TOKEN_S)

    def _read(self) -> None:
        metadata = (("authorization", f"Bearer {self._cluster.admin_key}"),)
        with grpc.insecure_channel(self._cluster.address) as channel:
            try:
                for response in rpc.ArtifactServiceStub(channel).ReadFile(self._request, metadata=metadata):
                    self._bytes += len(response.chunk)
                    self._first.set()
                    self._others.wait(END_S)
            except grpc.RpcError as error:
                self.error = from_rpc_error(error)

    def go_on(self) -> None:
        self._others.set()

    def end(self) -> None:
        """Wait for the stream's end; AssertionError if it hangs, or ended as if it were complete."""
        self._thread.join(END_S)
        assert not self._thread.is_alive(), "the stream hangs"
        assert self.error or self._bytes == FILE_BYTES, f"{self._bytes} bytes as if they were all"


@pytest.fixture(scope="module")
def large_file(starters: Cluster, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The manifest of a version that has one large file, `zeros`."""
    folder = tmp_path_factory.mktemp("large")
    with (folder / "zeros").open("wb") as file:
        file.truncate(FILE_BYTES)
    with starters.client() as client:
        return client.push(folder, "zoo/large").digest


@pytest.mark.parametrize("process", PROCESSES)
async def test_a_killed_process_hurts_only_what_passes_through_it(
    starters: Cluster, large_file: str, process: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ZOO_CACHE", str(tmp_path / "cache"))
    (tmp_path / "pushed").mkdir()
    (tmp_path / "pushed" / "notes").write_bytes(os.urandom(3_000_000))
    with starters.client() as client:
        model = f"zoo/pushed-before-{process}-died"
        version = client.push(tmp_path / "pushed", model)
        client.set_alias(model, "kept", 1)
        text, file = RunningStream(client), RunningRead(starters, large_file)
        before = starters.process(process).pid
        assert text.is_running()

        os.kill(before, signal.SIGKILL)

        # From the kill on, while the streams still run.
        await eventually(lambda: _serves(starters, process, before), within_s=SERVES_AGAIN_S.get(process, 10))
        file.go_on()
        text.end()
        file.end()
        if process in THROUGH["text"]:
            assert text.error is not None
            assert text.error.reason == "STREAM_INTERRUPTED"
        else:
            assert text.is_complete, text.error
        if process in THROUGH["file"]:
            assert file.error is not None
        elif process != "seaweedfs":  # whose next blob is asked for again, or is an error
            assert file.error is None
        await eventually(lambda: _answers(client), within_s=30)
        assert client.version(f"{model}@kept").manifest_digest == version.digest.removeprefix("sha256:")
        back = client.pull(model, tmp_path / "back")
        assert filecmp.cmp(tmp_path / "pushed" / "notes", back / "notes", shallow=False)


async def _serves(cluster: Cluster, process: str, before: int) -> bool:
    state = cluster.process(process)
    return state.state == "serving" and state.pid not in (0, before)


async def _answers(client: Client) -> bool:
    return client.complete(CHAT, "Hi", max_tokens=1, timeout_s=20).finish is not None
