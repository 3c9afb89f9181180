"""The process `zoo-worker`: from a published version to a stream, and its end."""

import os
import signal
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path

import pytest

from modelzoo.errors import FailedPrecondition
from modelzoo.signing.keys import new_key
from support.tiny_models import reciting_gpt2
from support.waiting import eventually
from support.worker_process import WorkerProcess, worker_process
from zoo_store.presence import WorkerPresence

SPOKEN = "abcdefgh" * 120


@pytest.fixture
async def worker(tmp_path: Path, redis_url: str) -> AsyncIterator[WorkerProcess]:
    async with worker_process(tmp_path, redis_url) as worker:
        yield worker


async def test_a_published_version_streams_is_announced_and_outlives_sigterm(
    worker: WorkerProcess, tmp_path: Path
) -> None:
    version = await worker.publish("acme/recites", reciting_gpt2(tmp_path / "model", SPOKEN, after=1))
    calls = worker.calls()
    assert (await calls.refusal(calls.generate("acme/recites@2", text="a"))).reason == "VERSION_NOT_FOUND"
    assert (await calls.refusal(calls.generate("acme/recites@prod", text="a"))).reason == "ALIAS_NOT_FOUND"
    assert (await calls.refusal(calls.embed("acme/recites", "a"))).reason == "TASK_MISMATCH"
    stream = aiter(calls.stream("acme/recites", text=">", max_tokens=960))
    said = (await anext(stream)).text

    presence = await eventually(lambda: loaded(worker))
    assert presence is not None
    assert not presence.draining
    assert [(model.reference, model.task) for model in presence.models] == [("acme/recites@1", "text-generation")]

    os.kill(worker.process.pid, signal.SIGTERM)
    messages = [message async for message in stream]
    assert said + "".join(message.text for message in messages) == SPOKEN
    assert messages[-1].finish.manifest_digest == version.manifest_digest

    await eventually(lambda: gone(worker))


async def test_it_runs_signed_versions_alone_where_they_are_required_and_unloads_what_is_quarantined(
    worker: WorkerProcess, tmp_path: Path
) -> None:
    version = await worker.publish("acme/recites", reciting_gpt2(tmp_path / "model", "abc", after=1))
    calls = worker.calls()
    await worker.trust("acme", new_key())
    assert (await calls.refusal(calls.generate("acme/recites@1", text=">"))).reason == "SIGNATURE_REQUIRED"
    await worker.sign(version)

    async def runs() -> bool:
        with suppress(FailedPrecondition):  # until it asks again
            return bool((await calls.generate("acme/recites@1", text=">")).finish.manifest_digest)
        return False

    await eventually(runs)
    await worker.quarantine("acme/recites@1")

    async def is_unloaded() -> bool:
        presence = await worker.announced()
        return presence is not None and presence.models == ()

    await eventually(is_unloaded)
    assert (await calls.refusal(calls.generate("acme/recites@1", text=">"))).reason == "VERSION_STATE_INVALID"


async def loaded(worker: WorkerProcess) -> WorkerPresence | None:
    """What it announces once no model is on its way: what it says meanwhile may still be there for a moment."""
    presence = await worker.announced()
    return presence if presence and not any(model.loading for model in presence.models) else None


async def gone(worker: WorkerProcess) -> bool:
    return await worker.announced() is None
