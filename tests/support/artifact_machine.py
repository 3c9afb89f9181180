"""Random callers and sweepers of the artifact service beside a model of a few dictionaries: a hypothesis machine.

What it runs on, and through how many replicas, `ArtifactMachine.enter` says.
"""

import asyncio
import shutil
import tempfile
from collections.abc import Coroutine, Mapping
from contextlib import AsyncExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, TypeVar

import httpx
from blake3 import blake3
from google.protobuf.timestamp_pb2 import Timestamp
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from modelzoo.errors import NotFound, ZooError
from support.artifact_server import ArtifactServer, Caller, artifact_server, digest_of, manifest_of, upload
from support.upkeep import AgedBlobs, AgedStore, age, checked, rebuilt, swept
from zoo.artifact.v1 import artifact_service_pb2 as pb
from zoo_artifact.keys import blob_key, manifest_key
from zoo_artifact.schema import (
    blobs,
    manifest_blobs,
    manifests,
    namespace_blobs,
    namespace_manifests,
    pins,
    quarantines,
)
from zoo_server.principal import Role

__all__ = ["ArtifactMachine"]

T = TypeVar("T")

NAMESPACES = ("team", "other")
BLOBS = (b"one", b"two", b"three")
CONTENTS = (
    {"a": b"one"},
    {"a": b"one", "b": b"two"},
    {"a": b"two", "b": b"three", "c": b"one"},
)
DIGESTS = [manifest_of(files).digest() for files in CONTENTS]
NAMESPACE = st.sampled_from(NAMESPACES)
CONTENT = st.sampled_from(range(len(CONTENTS)))
BLOB = st.sampled_from(BLOBS)
# Taken modulo the number of replicas.
REPLICA = st.integers(0, 1)
# Of time two days pass at once: such a pin outlives one such step.
A_WHILE = timedelta(days=3)
TABLES = (pins, quarantines, namespace_blobs, namespace_manifests, manifest_blobs, manifests, blobs)

Visible = tuple[str, int]


class ArtifactMachine(RuleBasedStateMachine):
    """`visible` are (namespace, content); `pinned` of them keep for ever, `leases` for so many more passings of time;
    `fresh` was put since time last passed; `quarantined` is neither read nor put.
    """

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.stack = AsyncExitStack()
        self.folder = Path(tempfile.mkdtemp(prefix="zoo-machine-"))
        self.store: AgedBlobs | AgedStore
        self.replicas: list[ArtifactServer]
        self.store, self.replicas = self.run(self.enter())
        self.visible: set[Visible] = set()
        self.pinned: set[Visible] = set()
        self.leases: dict[Visible, int] = {}
        self.fresh: set[int] = set()
        self.damaged: set[bytes] = set()
        self.quarantined: set[Visible] = set()
        self.steps = 0

    async def enter(self) -> tuple[AgedBlobs | AgedStore, list[ArtifactServer]]:
        """A store and the replicas on it; entered on `stack`."""
        store = AgedBlobs()
        return store, [await self.stack.enter_async_context(artifact_server(store, self.folder))]

    def teardown(self) -> None:
        self.run(self.stack.aclose())
        self.runner.close()
        shutil.rmtree(self.folder)

    def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        return self.runner.run(coroutine)

    def server(self, replica: int) -> ArtifactServer:
        return self.replicas[replica % len(self.replicas)]

    def caller(self, replica: int, role: Role = Role.PUBLISHER) -> Caller:
        subject = "user:ann" if role is Role.PUBLISHER else "user:admin"
        return self.server(replica).caller(dict.fromkeys(NAMESPACES, role), subject)

    # Pushing

    @rule(namespace=NAMESPACE, content=CONTENT, replica=REPLICA)
    def push(self, namespace: str, content: int, replica: int) -> None:
        reason = self.run(_reason_of(self.caller(replica).push(CONTENTS[content], namespace)))
        self._was_put(namespace, content, reason)

    @rule(namespace=NAMESPACE, content=CONTENT, replica=REPLICA, other=REPLICA)
    def push_straight_to_the_store(self, namespace: str, content: int, replica: int, other: int) -> None:
        """Signed, written and committed by one replica; put, and what it lacks sent, by the same or another."""
        self.run(self._write_directly(self.caller(replica), CONTENTS[content], namespace))
        reason = self.run(_reason_of(self.caller(other).push(CONTENTS[content], namespace)))
        self._was_put(namespace, content, reason)

    @rule(namespace=NAMESPACE, content=CONTENT, replica=REPLICA, after_s=st.sampled_from([0, 0.001, 0.004, 0.012]))
    def hang_up_and_push_again_at_once(self, namespace: str, content: int, replica: int, after_s: float) -> None:
        self.run(self._hang_up(self.caller(replica), CONTENTS[content], namespace, after_s))
        self.push(namespace, content, replica)

    @rule(data=BLOB, namespace=NAMESPACE, replica=REPLICA)
    def write_without_putting(self, data: bytes, namespace: str, replica: int) -> None:
        self.run(self.caller(replica).write(data, namespace=namespace))
        self.damaged.discard(data)

    # Holding

    @rule(namespace=NAMESPACE, content=CONTENT, replica=REPLICA)
    def pin(self, namespace: str, content: int, replica: int) -> None:
        if self._pin(namespace, content, replica):
            self.leases.pop((namespace, content), None)
            self.pinned.add((namespace, content))

    @rule(namespace=NAMESPACE, content=CONTENT, replica=REPLICA)
    def pin_for_a_while(self, namespace: str, content: int, replica: int) -> None:
        if self._pin(namespace, content, replica, A_WHILE):
            self.pinned.discard((namespace, content))
            self.leases[namespace, content] = 1

    @rule(namespace=NAMESPACE, content=CONTENT, replica=REPLICA)
    def unpin(self, namespace: str, content: int, replica: int) -> None:
        self.run(self.caller(replica).unpin(DIGESTS[content], "h", namespace))
        self.pinned.discard((namespace, content))
        self.leases.pop((namespace, content), None)

    @rule(namespace=NAMESPACE, content=CONTENT, replica=REPLICA)
    def quarantine(self, namespace: str, content: int, replica: int) -> None:
        admin = self.caller(replica, Role.ADMIN)
        reason = self.run(_reason_of(admin.quarantine(DIGESTS[content], "bad", namespace)))
        assert reason == ("" if (namespace, content) in self.visible else "MANIFEST_NOT_FOUND")
        if not reason:
            self.quarantined.add((namespace, content))

    @rule(namespace=NAMESPACE, content=CONTENT, replica=REPLICA)
    def release(self, namespace: str, content: int, replica: int) -> None:
        self.run(self.caller(replica, Role.ADMIN).release(DIGESTS[content], namespace))
        self.quarantined.discard((namespace, content))

    # Sweeping

    @rule()
    def time_passes(self) -> None:
        self.run(age(self.replicas[0].database, self.store))
        self.fresh.clear()
        self.leases = {each: left - 1 for each, left in self.leases.items()}

    @rule(replica=REPLICA)
    def sweep(self, replica: int) -> None:
        upkeep = self.server(replica).upkeep
        told = self.run(swept(upkeep, dry_run=True)).counts
        assert self.run(swept(upkeep)).counts == told
        self._was_swept()

    @rule(replica=REPLICA)
    def sweep_to_the_end(self, replica: int) -> None:
        """Nothing that nobody holds outlives its grace."""
        for _ in range(2):
            self.time_passes()
            self.run(swept(self.server(replica).upkeep))
            self._was_swept()
        contents = [CONTENTS[content] for _, content in self.visible]
        expected = {manifest_key(manifest_of(files).digest()) for files in contents}
        expected |= {blob_key(digest_of(data)) for files in contents for data in files.values()}
        assert self.run(self._keys()) == expected - {blob_key(digest_of(data)) for data in self.damaged}
        self.damaged &= {data for files in contents for data in files.values()}

    @rule(data=BLOB, replica=REPLICA)
    def damage_and_mark(self, data: bytes, replica: int) -> None:
        key = blob_key(digest_of(data))
        if self.run(self.store.size(key)) is None:
            return
        self.run(self.store.delete(key))
        found = self.run(checked(self.server(replica).upkeep, repair=True)).kinds
        assert {"BLOB_MISSING", "BLOB_LACKING"}.intersection(found) or not self._is_named(data)
        self.damaged.add(data)
        assert self.run(self.caller(replica).find_missing([digest_of(data)])) == [digest_of(data)]

    @rule(replica=REPLICA)
    def lose_the_index(self, replica: int) -> None:
        """All of it: what was visible is so again, and its holders pin it again before anything is swept."""
        if self.damaged:
            return
        upkeep = self.server(replica).upkeep
        self.run(self._forget_everything())
        self.run(rebuilt(upkeep))
        self.fresh = {content for _, content in self.visible}
        for namespace, content in self.pinned & self.visible:
            assert self._pin(namespace, content, replica)
        for namespace, content in self.leases.keys() & self.visible:
            assert self._pin(namespace, content, replica, A_WHILE)
            self.leases[namespace, content] = 1
        assert self.run(_reason_of(swept(upkeep))) == "SWEEPING_OFF"
        index_id = self.run(upkeep.sweeping()).index_id
        self.run(upkeep.state.confirm("service:catalog", index_id))

    # What holds after every step

    @invariant()
    def what_is_visible_reads_back_and_nothing_else(self) -> None:
        self.steps += 1
        team = self.caller(self.steps)
        for namespace in NAMESPACES:
            for content, files in enumerate(CONTENTS):
                for path, data in files.items():
                    expected = "" if data not in self.damaged else "BLOB_CORRUPT"
                    if (namespace, content) not in self.visible:
                        expected = "MANIFEST_NOT_FOUND"
                    elif (namespace, content) in self.quarantined:
                        expected = "MANIFEST_QUARANTINED"
                    assert self.run(self._reading(team, DIGESTS[content], path, namespace, data)) == expected

    @invariant()
    def index_and_bucket_agree(self) -> None:
        found = set(self.run(checked(self.server(self.steps).upkeep)).kinds)
        assert found <= ({"BLOB_LACKING"} if self.damaged else set())

    # Helpers

    def _was_put(self, namespace: str, content: int, reason: str) -> None:
        assert reason == ("MANIFEST_QUARANTINED" if (namespace, content) in self.quarantined else "")
        self.damaged -= set(CONTENTS[content].values())
        if not reason:
            self.visible.add((namespace, content))
            self.fresh.add(content)

    def _was_swept(self) -> None:
        self.leases = {each: left for each, left in self.leases.items() if left >= 0}
        held = self.pinned | self.leases.keys()
        self.visible = {each for each in self.visible if each in held or each[1] in self.fresh}
        self.pinned &= self.visible
        self.leases = {each: left for each, left in self.leases.items() if each in self.visible}

    def _is_named(self, data: bytes) -> bool:
        return any(data in CONTENTS[content].values() for _, content in self.visible)

    def _pin(self, namespace: str, content: int, replica: int, lifetime: timedelta | None = None) -> bool:
        """Whether there is something to pin, as the model says."""
        request = pb.PinRequest(namespace=namespace, manifest_digest=DIGESTS[content], holder="h")
        if lifetime is not None:
            expire_time = Timestamp()
            expire_time.FromDatetime(datetime.now(UTC) + lifetime)
            request.expire_time.CopyFrom(expire_time)
        try:
            self.run(self.caller(replica).pin(request))
        except NotFound:
            assert (namespace, content) not in self.visible
            return False
        assert (namespace, content) in self.visible
        return True

    async def _write_directly(self, caller: Caller, files: Mapping[str, bytes], namespace: str) -> None:
        """As far as the store signs for it."""
        missing = set(await caller.find_missing(map(digest_of, files.values()), namespace))
        by_digest = {digest_of(data): data for data in files.values() if digest_of(data) in missing}
        proofs: dict[bytes, bytes] = {}
        async with httpx.AsyncClient(trust_env=False) as anyone:
            for write in await caller.sign_writes(*by_digest.values(), namespace=namespace):
                data = by_digest[write.digest]
                self.store.touch(blob_key(write.digest))
                headers = {**write.headers, "Content-Length": str(len(data))}
                answer = await anyone.put(write.url, content=data, headers=headers)
                assert answer.status_code in (200, 412)
                proofs[data] = blake3(data, key=write.proof_key).digest()
        assert await caller.commit(proofs, namespace) == []

    async def _hang_up(self, caller: Caller, files: Mapping[str, bytes], namespace: str, after_s: float) -> None:
        put = pb.PutManifestRequest(namespace=namespace, manifest=manifest_of(files).to_bytes())
        find = pb.FindMissingBlobsRequest(namespace=namespace, digests=map(digest_of, files.values()))
        calls: list[Any] = [
            caller.stub.FindMissingBlobs(find, metadata=caller.metadata),
            caller.stub.WriteBlobs(upload(files.values(), namespace), metadata=caller.metadata),
            caller.stub.PutManifest(put, metadata=caller.metadata),
        ]
        await asyncio.wait([asyncio.ensure_future(call.code()) for call in calls], timeout=after_s)
        for call in calls:
            call.cancel()

    async def _forget_everything(self) -> None:
        async with self.replicas[0].database.write() as connection:
            for table in TABLES:
                await connection.execute(table.delete())

    async def _reading(self, caller: Caller, digest: str, path: str, namespace: str, data: bytes) -> str:
        """The reason why it cannot be read; '' if it can, and is right."""
        try:
            found = await caller.read(digest, path, namespace=namespace)
        except ZooError as error:
            return error.reason
        return "" if found == data else "other bytes"

    async def _keys(self) -> set[str]:
        return {info.key async for info in self.store.list("") if info.key.startswith(("blobs/", "manifests/"))}


async def _reason_of(doing: Coroutine[Any, Any, object]) -> str:
    """The reason of the error that it ends with, or ''."""
    try:
        await doing
    except ZooError as error:
        return error.reason
    return ""
