"""The service on a SeaweedFS that fails it: right bytes or a clear error, never wrong bytes, nothing half-written seen.

Each fault comes once, which nobody notices, and for good, which everybody is told; a push afterwards mends all of it.
"""

import asyncio
import dataclasses
import os
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import suppress
from typing import TypeVar

import pytest
import pytest_asyncio

from modelzoo.errors import Unavailable
from modelzoo.manifest import Manifest
from support.artifact_server import (
    ArtifactServer,
    Caller,
    artifact_server,
    digest_of,
    file_of,
    manifest_of,
    refusal,
    safetensors,
)
from support.faulty_s3 import Fault, FaultyS3, at, faulty_s3, healthy, times
from support.s3_faults import (
    answers,
    cuts_answer,
    empties_answer,
    flips_answer,
    flips_request,
    keeps_other_bytes,
    loses_answer,
    loses_request,
    never_answers,
    shortens_answer,
    shortens_request,
    trickles,
)
from support.servers import S3Server
from support.upkeep import checked
from zoo_artifact.keys import blob_key, manifest_key
from zoo_store.blobs import BlobStore, S3Credentials, open_blobs
from zoo_store.blobs_s3 import S3BlobStore, S3Settings

T = TypeVar("T")

READ_TIMEOUT_S = 1.5
ANSWER_TIMEOUT_S = 2.5

Files = Mapping[str, bytes]

# One service for the whole file: each test has files of its own.
pytestmark = pytest.mark.asyncio(loop_scope="module")

UNAVAILABLE = ("UNAVAILABLE", "STORAGE_UNAVAILABLE")
CORRUPT = ("DATA_LOSS", "BLOB_CORRUPT")

# What is told where it lasts.
READING: dict[str, tuple[Fault, tuple[str, str]]] = {
    "f20 a flipped bit": (flips_answer, CORRUPT),
    "f19 a body cut at n-1 bytes under status 200": (cuts_answer, UNAVAILABLE),
    "s12 a body of n-1 bytes as if that were all": (shortens_answer, CORRUPT),
    "f21 an object of no bytes": (empties_answer, CORRUPT),
    "s7 a 404 that does not say that there is no such key": (answers(404), UNAVAILABLE),
    "500": (answers(500), UNAVAILABLE),
    "f17 503": (answers(503), UNAVAILABLE),
    "200 to everything": (answers(200), CORRUPT),
    "s12 a connection that closes": (loses_request, UNAVAILABLE),
}
WRITING: dict[str, Fault] = {
    "s9 a flipped bit": flips_request,
    "s9 a body cut at n-1 bytes": shortens_request,
    "500": answers(500),
    "f17 503": answers(503),
    "s9 200 and nothing done": answers(200),
    "a connection that closes": loses_request,
    "f22 a reply that is lost": loses_answer,
}
every_reading = pytest.mark.parametrize(("fault", "told"), READING.values(), ids=READING)
every_writing = pytest.mark.parametrize("fault", WRITING.values(), ids=WRITING)


@pytest.fixture(scope="module")
def blobs_url(s3_server: S3Server) -> str:
    return f"s3://zoo-test/{uuid.uuid4().hex}?endpoint={s3_server.endpoint}"


@pytest.fixture(scope="module")
def credentials(s3_server: S3Server) -> S3Credentials:
    return S3Credentials(s3_server.access_key, s3_server.secret_key)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def sound(blobs_url: str, credentials: S3Credentials) -> AsyncIterator[BlobStore]:
    """The same store by a way without faults."""
    async with open_blobs(blobs_url, credentials) as store:
        yield store


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def standing_s3(s3_server: S3Server) -> AsyncIterator[FaultyS3]:
    async with faulty_s3(s3_server.endpoint) as faulty:
        yield faulty


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def server(
    standing_s3: FaultyS3, blobs_url: str, credentials: S3Credentials, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[ArtifactServer]:
    settings = dataclasses.replace(
        S3Settings.from_url(blobs_url),
        endpoint=standing_s3.endpoint,
        read_timeout_s=READ_TIMEOUT_S,
        answer_timeout_s=ANSWER_TIMEOUT_S,
    )
    async with (
        S3BlobStore.open(settings, credentials) as store,
        artifact_server(store, tmp_path_factory.mktemp("damage")) as server,
    ):
        yield server


@pytest.fixture
def s3(standing_s3: FaultyS3) -> FaultyS3:
    standing_s3.fault = healthy
    return standing_s3


@pytest.fixture
def team(server: ArtifactServer) -> Caller:
    return server.caller()


@pytest.fixture
def files() -> Files:
    return {"config.json": os.urandom(8).hex().encode(), "weights.bin": os.urandom(300_000)}


async def read_all(team: Caller, files: Files) -> Files:
    digest = manifest_of(files).digest()
    return {path: await team.read(digest, path) for path in files}


async def repeated(call: Callable[[], Awaitable[T]], attempts: int = 2) -> T:
    """As every client does where it is told that the store was not available."""
    for _ in range(attempts - 1):
        with suppress(Unavailable):
            return await call()
    return await call()


@every_reading
async def test_a_fault_while_reading_that_comes_once_is_overcome(
    team: Caller, s3: FaultyS3, files: Files, fault: Fault, told: tuple[str, str]
) -> None:
    digest = await team.push(files)
    s3.fault = at("GET", "/blobs/", times(1, fault))
    assert await repeated(lambda: read_all(team, files)) == files
    s3.fault = at("GET", "/manifests/", times(1, fault))
    assert await repeated(lambda: team.get(digest)) == manifest_of(files).to_bytes()
    assert await team.find_missing(map(digest_of, files.values())) == []


@every_reading
async def test_a_fault_while_reading_that_lasts_is_told_and_a_push_mends_it(
    team: Caller, s3: FaultyS3, files: Files, fault: Fault, told: tuple[str, str]
) -> None:
    digest = await team.push(files)
    s3.fault = at("GET", "/blobs/", fault)
    assert await refusal(team.read(digest, "weights.bin")) == told
    s3.fault = at("GET", "/manifests/", fault)
    assert await refusal(team.get(digest)) == told
    s3.fault = healthy
    await team.push(files)
    assert await read_all(team, files) == files
    assert await team.find_missing(map(digest_of, files.values())) == []


@every_writing
@pytest.mark.parametrize("part", ["/blobs/", "/manifests/"])
async def test_a_fault_while_writing_that_comes_once_is_overcome(
    team: Caller, s3: FaultyS3, files: Files, fault: Fault, part: str
) -> None:
    s3.fault = at("PUT", part, times(1, fault))
    await repeated(lambda: team.push(files))
    s3.fault = healthy
    assert await read_all(team, files) == files


@every_writing
@pytest.mark.parametrize("part", ["/blobs/", "/manifests/"])
async def test_a_fault_while_writing_that_lasts_is_told_nothing_of_it_is_seen_and_a_push_mends_it(
    team: Caller, s3: FaultyS3, files: Files, fault: Fault, part: str
) -> None:
    s3.fault = at("PUT", part, fault)
    assert await refusal(team.push(files)) == UNAVAILABLE
    s3.fault = healthy
    assert await refusal(team.get(manifest_of(files).digest())) == ("NOT_FOUND", "MANIFEST_NOT_FOUND")
    await team.push(files)
    assert await read_all(team, files) == files


@pytest.mark.parametrize("kept", [0, 64, 299_999], ids=["s13 nothing", "s9 a part", "f19 all but a byte"])
async def test_s9_a_write_of_which_the_store_kept_a_part_under_status_200_is_not_believed(
    team: Caller, s3: FaultyS3, sound: BlobStore, files: Files, kept: int
) -> None:
    blob = blob_key(digest_of(files["weights.bin"]))
    s3.fault = at("PUT", blob, keeps_other_bytes(sound, lambda data: data[:kept]))
    assert await refusal(team.push(files)) == UNAVAILABLE
    s3.fault = healthy
    await team.push(files)
    assert await read_all(team, files) == files


DAMAGE: dict[str, Callable[[bytes], bytes]] = {
    "f20 a flipped bit": lambda data: data[:-1] + bytes([data[-1] ^ 1]),
    "f21 no bytes": lambda data: b"",
    "s13 all but a byte": lambda data: data[:-1],
    "s19 a longer object that begins right": lambda data: data + b"x",
    "s19 another object's bytes": lambda data: os.urandom(len(data)),
}


@pytest.mark.parametrize("change", DAMAGE.values(), ids=DAMAGE)
async def test_f20_damage_at_rest_is_told_hurts_nobody_else_and_the_next_push_mends_it(
    team: Caller, sound: BlobStore, files: Files, change: Callable[[bytes], bytes]
) -> None:
    digest, other = await team.push(files), await team.push({"config.json": files["config.json"]})
    blob = blob_key(digest_of(files["weights.bin"]))
    await sound.put(blob, change(files["weights.bin"]))
    assert await refusal(team.read(digest, "weights.bin")) == CORRUPT
    assert await team.read(other, "config.json") == files["config.json"]
    await team.push(files)
    assert await read_all(team, files) == files
    assert await sound.get(blob) == files["weights.bin"]


@pytest.mark.parametrize("change", [DAMAGE["f20 a flipped bit"], DAMAGE["f21 no bytes"]], ids=["flipped", "empty"])
async def test_s14_a_damaged_manifest_is_told_the_check_goes_on_and_the_next_push_mends_it(
    server: ArtifactServer, team: Caller, sound: BlobStore, files: Files, change: Callable[[bytes], bytes]
) -> None:
    digest, other = await team.push(files), await team.push({"config.json": files["config.json"]})
    await sound.put(manifest_key(digest), change(await sound.get(manifest_key(digest))))
    assert await refusal(team.get(digest)) == CORRUPT
    assert await refusal(team.read(digest, "weights.bin")) == CORRUPT
    assert await team.read(other, "config.json") == files["config.json"]
    found = (await checked(server.upkeep, full=False)).findings
    assert [finding.kind.value for finding in found if digest in finding.resource] == ["MANIFEST_CORRUPT"]
    await team.push(files)
    assert await read_all(team, files) == files


# A longer object shows when all of it is read.
@pytest.mark.parametrize("change", [change for name, change in DAMAGE.items() if "longer" not in name])
async def test_s16_a_new_manifest_that_names_a_damaged_blob_has_it_sent_again(
    team: Caller, sound: BlobStore, change: Callable[[bytes], bytes]
) -> None:
    name = os.urandom(4).hex()
    head, data = safetensors({name: {"dtype": "U8", "shape": [4], "data_offsets": [0, 4]}}, b"1234")
    await team.write(head, data)
    await sound.put(blob_key(digest_of(head)), change(head))
    manifest = Manifest.of("transformers", [file_of("model.safetensors", head, data)])
    assert await refusal(team.put(manifest)) == ("FAILED_PRECONDITION", "BLOBS_MISSING")
    assert await team.find_missing([digest_of(head), digest_of(data)]) == [digest_of(head)]
    await team.write(head)
    assert await team.read(await team.put(manifest), "model.safetensors") == head + data


async def test_f18_silence_over_one_models_blobs_is_told_in_time_and_others_do_not_notice(
    team: Caller, s3: FaultyS3, files: Files
) -> None:
    other = {"other.bin": os.urandom(2 * 1024 * 1024)}
    digest, other_digest = await team.push(files), await team.push(other)
    s3.fault = at("GET", blob_key(digest_of(files["weights.bin"])), never_answers)
    started = time.monotonic()
    stuck = [asyncio.create_task(refusal(team.read(digest, "weights.bin"))) for _ in range(4)]
    assert await team.read(other_digest, "other.bin") == other["other.bin"]
    assert not any(task.done() for task in stuck)
    assert set(await asyncio.gather(*stuck)) == {UNAVAILABLE}
    assert time.monotonic() - started < READ_TIMEOUT_S + 5  # a busy machine's leave


@pytest.mark.parametrize("method", ["PUT", "HEAD"])
async def test_f18_silence_while_writing_is_told_in_time(team: Caller, s3: FaultyS3, files: Files, method: str) -> None:
    s3.fault = at(method, "/blobs/", never_answers)
    started = time.monotonic()
    assert await refusal(team.push(files)) == UNAVAILABLE
    assert time.monotonic() - started < READ_TIMEOUT_S + 5
    s3.fault = healthy
    await team.push(files)
    assert await read_all(team, files) == files


async def test_a_store_that_answers_slowly_is_waited_for(team: Caller, s3: FaultyS3, files: Files) -> None:
    digest = await team.push(files)
    s3.fault = at("GET", "/blobs/", trickles(ANSWER_TIMEOUT_S / 240))
    assert await team.read(digest, "weights.bin") == files["weights.bin"]


async def test_a_store_that_trickles_is_given_up_in_time(team: Caller, s3: FaultyS3, files: Files) -> None:
    digest = await team.push(files)
    s3.fault = at("GET", "/blobs/", trickles(READ_TIMEOUT_S / 6))
    started = time.monotonic()
    assert await refusal(team.read(digest, "weights.bin")) == UNAVAILABLE
    assert time.monotonic() - started < ANSWER_TIMEOUT_S + 5
