"""The artifact service, as random callers and sweepers use it, does what a model of a few dictionaries says."""

import asyncio
import shutil
import tempfile
from collections.abc import Coroutine
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, TypeVar

from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from modelzoo.errors import NotFound, ZooError
from support.artifact_server import ArtifactServer, artifact_server, digest_of, manifest_of
from support.upkeep import AgedBlobs, age, checked, rebuilt, swept
from zoo.artifact.v1 import artifact_service_pb2 as pb
from zoo_artifact.keys import blob_key, manifest_key
from zoo_server.principal import Role

T = TypeVar("T")

NAMESPACES = ("team", "other")
BLOBS = (b"one", b"two", b"three")
CONTENTS = (
    {"a": b"one"},
    {"a": b"one", "b": b"two"},
    {"a": b"two", "b": b"three", "c": b"one"},
)
NAMESPACE = st.sampled_from(NAMESPACES)
CONTENT = st.sampled_from(range(len(CONTENTS)))
BLOB = st.sampled_from(BLOBS)


class ArtifactMachine(RuleBasedStateMachine):
    """`visible` are (namespace, content); `pinned` of them keep for ever; `fresh` was put since time last passed."""

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.stack = AsyncExitStack()
        self.folder = Path(tempfile.mkdtemp(prefix="zoo-machine-"))
        self.store = AgedBlobs()
        entering = self.stack.enter_async_context(artifact_server(self.store, self.folder))
        self.server: ArtifactServer = self.run(entering)
        self.caller = self.server.caller(dict.fromkeys(NAMESPACES, Role.PUBLISHER))
        self.visible: set[tuple[str, int]] = set()
        self.pinned: set[tuple[str, int]] = set()
        self.fresh: set[int] = set()
        self.damaged: set[bytes] = set()

    def teardown(self) -> None:
        self.run(self.stack.aclose())
        self.runner.close()
        shutil.rmtree(self.folder)

    def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        return self.runner.run(coroutine)

    @rule(namespace=NAMESPACE, content=CONTENT)
    def push(self, namespace: str, content: int) -> None:
        self.run(self.caller.push(CONTENTS[content], namespace))
        self.visible.add((namespace, content))
        self.fresh.add(content)

    @rule(data=BLOB, namespace=NAMESPACE)
    def write_without_putting(self, data: bytes, namespace: str) -> None:
        self.run(self.caller.write(data, namespace=namespace))

    @rule(namespace=NAMESPACE, content=CONTENT)
    def pin(self, namespace: str, content: int) -> None:
        digest = manifest_of(CONTENTS[content]).digest()
        request = pb.PinRequest(namespace=namespace, manifest_digest=digest, holder="h")
        try:
            self.run(self.caller.pin(request))
        except NotFound:
            assert (namespace, content) not in self.visible
            return
        assert (namespace, content) in self.visible
        self.pinned.add((namespace, content))

    @rule(namespace=NAMESPACE, content=CONTENT)
    def unpin(self, namespace: str, content: int) -> None:
        digest = manifest_of(CONTENTS[content]).digest()
        request = pb.UnpinRequest(namespace=namespace, manifest_digest=digest, holder="h")
        self.run(_sent(self.caller.stub.Unpin(request, metadata=self.caller.metadata)))
        self.pinned.discard((namespace, content))

    @rule()
    def time_passes(self) -> None:
        self.run(age(self.server.database, self.store))
        self.fresh.clear()

    @rule()
    def sweep(self) -> None:
        told = self.run(swept(self.server.upkeep, dry_run=True)).counts
        assert self.run(swept(self.server.upkeep)).counts == told
        self.visible = {each for each in self.visible if each in self.pinned or each[1] in self.fresh}

    @rule()
    def sweep_to_the_end(self) -> None:
        for _ in range(2):
            self.time_passes()
            self.run(swept(self.server.upkeep))
        self.visible = set(self.pinned)
        contents = [CONTENTS[content] for _, content in self.visible]
        expected = {manifest_key(manifest_of(files).digest()) for files in contents}
        expected |= {blob_key(digest_of(data)) for files in contents for data in files.values()}
        assert self.run(self._keys()) == expected - {blob_key(digest_of(data)) for data in self.damaged}
        self.damaged &= {data for files in contents for data in files.values()}

    @rule(data=BLOB)
    def damage_and_mark(self, data: bytes) -> None:
        key = blob_key(digest_of(data))
        if self.run(self.store.size(key)) is None:
            return
        self.run(self.store.delete(key))
        assert "BLOB_MISSING" in self.run(checked(self.server.upkeep, repair=True)).kinds
        self.damaged.add(data)
        assert self.run(self.caller.find_missing([digest_of(data)])) == [digest_of(data)]

    @rule()
    def lose_the_index(self) -> None:
        if self.damaged:
            return
        self.run(rebuilt(self.server.upkeep))
        index_id = self.run(self.server.upkeep.sweeping()).index_id
        self.run(self.server.upkeep.state.confirm("service:catalog", index_id))
        # What is taken into an index is kept for another grace period.
        self.fresh |= {content for _, content in self.visible}

    @invariant()
    def what_is_visible_reads_back_and_nothing_else(self) -> None:
        for namespace in NAMESPACES:
            for content, files in enumerate(CONTENTS):
                digest = manifest_of(files).digest()
                for path, data in files.items():
                    is_there = self.run(self.store.size(blob_key(digest_of(data)))) is not None
                    expected = "" if is_there else "BLOB_CORRUPT"
                    if (namespace, content) not in self.visible:
                        expected = "MANIFEST_NOT_FOUND"
                    assert self.run(self._reading(digest, path, namespace, data)) == expected

    @invariant()
    def index_and_bucket_agree(self) -> None:
        found = set(self.run(checked(self.server.upkeep)).kinds)
        assert found <= ({"BLOB_LACKING"} if self.damaged else set())

    async def _reading(self, digest: str, path: str, namespace: str, data: bytes) -> str:
        """The reason why it cannot be read; '' if it can, and is right."""
        try:
            found = await self.caller.read(digest, path, namespace=namespace)
        except ZooError as error:
            return error.reason
        return "" if found == data else "other bytes"

    async def _keys(self) -> set[str]:
        return {info.key async for info in self.store.list("") if info.key.startswith(("blobs/", "manifests/"))}


async def _sent(call: Any) -> None:
    await call


TestArtifact = ArtifactMachine.TestCase
TestArtifact.settings = settings(
    max_examples=6,
    stateful_step_count=20,
    deadline=None,
    phases=[Phase.explicit, Phase.reuse, Phase.generate],
    suppress_health_check=list(HealthCheck),
)
