"""The process `zoo-artifact` on real SeaweedFS: what it acknowledged outlives its death."""

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest

from support.artifact_server import Caller, digest_of, manifest_of, upload
from support.servers import S3Server, ServerProcess, free_ports
from support.waiting import eventually
from zoo_server.principal import Principal, Role, Signer, TrustedKey, create_signer, save_trust

MIB = 1024 * 1024


class Process:
    """The service in a process of its own, on a port that stays the same."""

    def __init__(self, folder: Path, s3: S3Server, s3_url: str) -> None:
        self.signer: Signer = create_signer("gateway")
        save_trust(folder / "trust.json", [TrustedKey(self.signer.kid, self.signer.public_key(), None)])
        (self.port,) = free_ports(1)
        self._log = folder / "log"
        self._environment = {
            "ZOO_LISTEN": f"127.0.0.1:{self.port}",
            "ZOO_TRUST": str(folder / "trust.json"),
            "ZOO_DATABASE_URL": f"sqlite:///{folder}/artifact.db",
            "ZOO_BLOBS_URL": s3_url,
            "AWS_ACCESS_KEY_ID": s3.access_key,
            "AWS_SECRET_ACCESS_KEY": s3.secret_key,
        }
        self.start()

    def start(self) -> None:
        self.server = ServerProcess([sys.executable, "-m", "zoo_artifact.main"], self._log, self._environment)

    def caller(self, channel: grpc.aio.Channel) -> Caller:
        streams = grpc.insecure_channel(f"127.0.0.1:{self.port}")
        return Caller(channel, streams, self.signer.sign(Principal("user:ann", {"team": Role.PUBLISHER})))


@pytest.fixture
def process(tmp_path: Path, s3_server: S3Server, s3_url: str) -> Iterator[Process]:
    process = Process(tmp_path, s3_server, s3_url)
    try:
        yield process
    finally:
        process.server.kill()


async def ready(channel: grpc.aio.Channel) -> bool:
    await channel.channel_ready()
    return True


async def test_what_was_acknowledged_outlives_a_kill_in_mid_stream(process: Process) -> None:
    files = {f"{number}.bin": os.urandom(4 * MIB) for number in range(20)}
    wanted = [digest_of(content) for content in files.values()]
    async with grpc.aio.insecure_channel(f"127.0.0.1:{process.port}") as channel:
        team = process.caller(channel)
        call = team.stub.WriteBlobs(upload(files.values()), metadata=team.metadata, wait_for_ready=True)
        acknowledged = [(await call.read()).digest for _ in range(5)]
        process.server.kill()
        call.cancel()
    process.start()
    async with grpc.aio.insecure_channel(f"127.0.0.1:{process.port}") as channel:
        await eventually(lambda: ready(channel), within_s=30)
        team = process.caller(channel)
        assert acknowledged == wanted[:5]
        missing = await team.find_missing(wanted)
        assert not set(missing) & set(acknowledged)
        digest = await team.push(files)
        assert await team.get(digest) == manifest_of(files).to_bytes()
        assert {path: await team.read(digest, path) for path in files} == files


async def test_the_process_never_loads_torch(process: Process) -> None:
    async with grpc.aio.insecure_channel(f"127.0.0.1:{process.port}") as channel:
        team = process.caller(channel)
        await eventually(lambda: ready(channel), within_s=30)
        await team.push({"a": b"1"})
    # The server's own process is the wrapper's child, or the wrapper turned into it.
    pids = [
        process.server.pid,
        *Path(f"/proc/{process.server.pid}/task/{process.server.pid}/children").read_text().split(),
    ]
    maps = "".join(Path(f"/proc/{pid}/maps").read_text() for pid in pids)
    assert "grpc" in maps
    assert "torch" not in maps
