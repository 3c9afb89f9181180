"""Pushes, deletions and sweeps all at once, on a real object store, with a grace period of seconds.

`make soak SECONDS=600 SEED=1`; without SECONDS two minutes. At the end whatever is pinned reads back byte for byte, a
full check finds nothing missing, and something was really deleted.
"""

import asyncio
import os
import random
import time
from contextlib import suppress
from datetime import timedelta
from pathlib import Path

import pytest

from modelzoo.errors import Unavailable
from support.artifact_server import ArtifactServer, Caller, artifact_server
from support.servers import S3Server
from support.upkeep import checked, swept
from zoo.artifact.v1 import artifact_service_pb2 as pb
from zoo_store.blobs import S3Credentials, open_blobs

SECONDS = float(os.environ.get("ZOO_SOAK_SECONDS", "0")) or 120.0
SEED = int(os.environ.get("ZOO_SOAK_SEED", "1"))
GRACE = timedelta(seconds=5)
PUSHERS = 4
CONTENTS = 40

pytestmark = pytest.mark.timeout(SECONDS + 300)


class Pusher:
    """Pushes contents of its own that share blobs with the others', pins them for a while, reads them, lets them go."""

    def __init__(self, caller: Caller, number: int) -> None:
        self._caller = caller
        self._number = number
        self._dice = random.Random(SEED * 1000 + number)
        self.held: dict[str, dict[str, bytes]] = {}
        self.pushed = 0

    async def work(self) -> None:
        files = {
            "shared": f"shared {self._dice.randrange(CONTENTS // 4)}".encode() * 50,
            "own": f"{self._number} {self._dice.randrange(CONTENTS)}".encode() * 50,
        }
        with suppress(Unavailable):  # a blob that is being deleted: the next round sends it again
            digest = await self._caller.push(files)
            await self._caller.pin(_pin(digest, self._holder))
            await self._caller.unpin(digest, "put")
            self.held[digest] = files
            self.pushed += 1
        if self.held and self._dice.random() < 0.7:
            digest = self._dice.choice(list(self.held))
            await self.check(digest)
            if self._dice.random() < 0.8:
                del self.held[digest]
                await self._caller.unpin(digest, self._holder)

    async def check(self, digest: str) -> None:
        for path, content in self.held[digest].items():
            assert await self._caller.read(digest, path) == content

    @property
    def _holder(self) -> str:
        return f"soak:{self._number}"


def _pin(digest: str, holder: str) -> pb.PinRequest:
    return pb.PinRequest(namespace="team", manifest_digest=digest, holder=holder)


async def test_pushes_deletions_and_sweeps_at_once_lose_nothing(
    s3_server: S3Server, s3_url: str, tmp_path: Path
) -> None:
    credentials = S3Credentials(s3_server.access_key, s3_server.secret_key)
    async with (
        open_blobs(s3_url, credentials) as store,
        artifact_server(store, tmp_path, grace=GRACE) as server,
    ):
        pushers = [Pusher(server.caller(subject=f"user:{number}"), number) for number in range(PUSHERS)]
        end = time.monotonic() + SECONDS
        async with asyncio.TaskGroup() as tasks:
            for pusher in pushers:
                tasks.create_task(_repeat(pusher, end))
            sweeping = tasks.create_task(_sweep(server, end))
        sweeps, deleted = sweeping.result()
        for pusher in pushers:
            for digest in pusher.held:
                await pusher.check(digest)
        assert (await checked(server.upkeep)).kinds == []
        assert deleted > 0
        assert any(pusher.held for pusher in pushers)
    pushed = sum(pusher.pushed for pusher in pushers)
    print(f"{pushed} pushes, {sweeps} sweeps, {deleted} blobs deleted, seed {SEED}")


async def _repeat(pusher: Pusher, end: float) -> None:
    while time.monotonic() < end:
        await pusher.work()


async def _sweep(server: ArtifactServer, end: float) -> tuple[int, int]:
    sweeps = deleted = 0
    while time.monotonic() < end:
        deleted += (await swept(server.upkeep)).counts.deleted_blobs
        sweeps += 1
    return sweeps, deleted
