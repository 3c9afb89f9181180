"""PutManifest: all or nothing becomes visible, and only what may."""

import asyncio
import io
import json
import os
import pickle
import zipfile
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import select, update

from modelzoo.errors import FailedPrecondition, InvalidArgument
from modelzoo.manifest import Blob, File, Manifest
from support.artifact_server import (
    ArtifactServer,
    Caller,
    digest_of,
    file_of,
    manifest_of,
    refusal,
    safetensors,
)
from support.faulty_blobs import FaultyBlobs
from zoo_artifact.schema import blobs, pins
from zoo_server.principal import Role

MIB = 1024 * 1024
SMALL = {"config.json": b"{}", "weights.bin": b"\x00" * 100, "notes/empty.txt": b""}


async def references(server: ArtifactServer) -> dict[str, int]:
    async with server.database.read() as connection:
        rows = await connection.execute(select(blobs.c.digest, blobs.c.reference_count))
        return {row.digest: row.reference_count for row in rows}


async def test_a_put_manifest_is_read_back_byte_for_byte(team: Caller) -> None:
    digest = await team.push(SMALL)
    manifest = manifest_of(SMALL)
    assert digest == manifest.digest()
    assert await team.get(digest) == manifest.to_bytes()


async def test_putting_again_changes_nothing_and_counts_once(server: ArtifactServer, team: Caller) -> None:
    digests = {await team.push(SMALL) for _ in range(3)}
    other = server.caller({"other": Role.PUBLISHER})
    digests.add(await other.push(SMALL, namespace="other"))
    assert len(digests) == 1
    assert set((await references(server)).values()) == {1}


async def test_blobs_count_the_manifests_that_name_them(server: ArtifactServer, team: Caller) -> None:
    await team.push({"a": b"shared", "b": b"1"})
    await team.push({"a": b"shared", "b": b"2", "again": b"shared"})
    counts = await references(server)
    assert (counts[digest_of(b"shared")], counts[digest_of(b"1")]) == (2, 1)


async def test_eight_puts_at_once_all_succeed_and_count_once(server: ArtifactServer, team: Caller) -> None:
    await team.write(*(content for content in SMALL.values() if content))
    assert len(set(await asyncio.gather(*(team.put(manifest_of(SMALL)) for _ in range(8))))) == 1
    assert set((await references(server)).values()) == {1}


async def test_absent_blobs_are_counted_and_nothing_becomes_visible(team: Caller) -> None:
    await team.write(b"{}")
    manifest = manifest_of({"config.json": b"{}", "a": b"absent", "b": b"too"})
    with pytest.raises(FailedPrecondition) as caught:
        await team.put(manifest)
    assert (caught.value.reason, caught.value.metadata) == ("BLOBS_MISSING", {"missing": "2"})
    assert await refusal(team.get(manifest.digest())) == ("NOT_FOUND", "MANIFEST_NOT_FOUND")


@pytest.mark.parametrize("state", ["damaged", "deleting"])
async def test_a_blob_that_is_not_whole_counts_as_missing(server: ArtifactServer, team: Caller, state: str) -> None:
    await team.write(b"x")
    async with server.database.write() as connection:
        await connection.execute(update(blobs).values(state=state))
    assert await team.find_missing([digest_of(b"x")]) == [digest_of(b"x")]
    assert await refusal(team.put(manifest_of({"a": b"x"}))) == ("FAILED_PRECONDITION", "BLOBS_MISSING")


async def test_a_writer_meets_a_blob_being_deleted_by_trying_again(server: ArtifactServer, team: Caller) -> None:
    await team.write(b"x")
    async with server.database.write() as connection:
        await connection.execute(update(blobs).values(state="deleting"))
    assert await refusal(team.write(b"x")) == ("UNAVAILABLE", "STORAGE_UNAVAILABLE")


PAIR = manifest_of({"a": b"1", "b": b"1"}).to_bytes()


def second_path(path: bytes) -> bytes:
    return PAIR.replace(b'"path":"b"', b'"path":"' + path + b'"')


@pytest.mark.parametrize(
    ("document", "reason"),
    [
        (b"{", "MANIFEST_INVALID"),
        (b"\xff\xfe", "MANIFEST_INVALID"),
        (b" " + PAIR, "MANIFEST_INVALID"),
        (PAIR.replace(b'"size":1}]', b'"size":2}]'), "MANIFEST_INVALID"),
        (PAIR.replace(b'"opaque"', b'"unheard-of"'), "MANIFEST_INVALID"),
        (PAIR.replace(b'"tensor/1"', b'"tensor/9"'), "MANIFEST_INVALID"),
        (second_path(b"b/../../etc"), "PATH_INVALID"),
        (second_path(b"/b"), "PATH_INVALID"),
        (second_path(b"b:c"), "PATH_INVALID"),
        (second_path(b"a"), "PATH_DUPLICATE"),
        (second_path(b"a/b"), "PATH_DUPLICATE"),
        (PAIR.replace(b'"path":"a"', b'"path":"B"'), "PATH_DUPLICATE"),
    ],
)
async def test_a_bad_manifest_is_refused(team: Caller, document: bytes, reason: str) -> None:
    assert await refusal(team.put(document)) == ("INVALID_ARGUMENT", reason)


@pytest.mark.parametrize("path", [rb"b\u0000", rb"b\\c", b"b\x00"])
async def test_a_path_with_nul_or_a_backslash_is_refused(team: Caller, path: bytes) -> None:
    code, reason = await refusal(team.put(second_path(path)))
    assert code == "INVALID_ARGUMENT"
    assert reason in ("PATH_INVALID", "MANIFEST_INVALID")


async def test_a_size_that_is_not_the_blobs_own_is_refused(team: Caller) -> None:
    await team.write(b"four")
    lie = File("a", 5, "0" * 64, (Blob(digest_of(b"four"), 5),))
    assert await refusal(team.put(Manifest.of("opaque", [lie]))) == ("INVALID_ARGUMENT", "MANIFEST_INVALID")


async def test_a_file_that_is_cut_elsewhere_is_refused(team: Caller) -> None:
    await team.write(b"ab", b"cd")
    manifest = Manifest.of("opaque", [file_of("a", b"ab", b"cd")])
    assert await refusal(team.put(manifest)) == ("INVALID_ARGUMENT", "MANIFEST_INVALID")


def two(first: dict[str, object], second: dict[str, object]) -> dict[str, object]:
    return {"a": {"dtype": "F32", "shape": [2], **first}, "b": {"dtype": "F32", "shape": [2], **second}}


RIGHT = two({"data_offsets": [0, 8]}, {"data_offsets": [8, 16]})


@pytest.mark.parametrize(
    "header",
    [
        two({"data_offsets": [0, 8]}, {"data_offsets": [4, 12]}),
        two({"data_offsets": [0, 8]}, {"data_offsets": [9, 17]}),
        two({"data_offsets": [0, 8]}, {"data_offsets": [8, 1 << 40]}),
        two({"data_offsets": [0, 8], "dtype": "F33"}, {"data_offsets": [8, 16]}),
        two({"data_offsets": [0, 8], "dtype": "F64"}, {"data_offsets": [8, 16]}),
        b"not json at all",
        b"{" + b"[" * 10_000,
    ],
    ids=["overlap", "hole", "past the end", "unknown dtype", "wrong dtype", "not JSON", "nested"],
)
async def test_a_safetensors_header_that_lies_is_refused(team: Caller, header: object) -> None:
    head, data = safetensors(header, b"\x00" * 16)
    await team.write(head, data)
    manifest = Manifest.of("transformers", [file_of("model.safetensors", head, data)])
    with pytest.raises(InvalidArgument) as caught:
        await team.put(manifest)
    assert caught.value.reason == "SAFETENSORS_INVALID"
    assert "model.safetensors" in caught.value.message


async def test_a_safetensors_header_over_the_limit_is_refused(team: Caller) -> None:
    head = (100_000_001).to_bytes(8, "little") + b"{}"
    await team.write(head)
    manifest = Manifest.of("transformers", [file_of("model.safetensors", head)])
    assert await refusal(team.put(manifest)) == ("INVALID_ARGUMENT", "SAFETENSORS_INVALID")


async def test_a_right_safetensors_file_is_taken_and_must_be_cut_after_its_header(team: Caller) -> None:
    head, data = safetensors(RIGHT, b"\x00" * 16)
    await team.write(head, data, head + data)
    right = Manifest.of("transformers", [file_of("model.safetensors", head, data)])
    wrong = Manifest.of("transformers", [file_of("model.safetensors", head + data)])
    assert await team.put(right) == right.digest()
    assert await refusal(team.put(wrong)) == ("INVALID_ARGUMENT", "MANIFEST_INVALID")


async def test_a_tensor_over_32_mib_may_lie_in_several_blobs(team: Caller) -> None:
    data = bytes(33 * MIB)
    head, _ = safetensors({"w": {"dtype": "U8", "shape": [len(data)], "data_offsets": [0, len(data)]}})
    parts = [head, data[: 32 * MIB], data[32 * MIB :]]
    await team.write(*parts)
    manifest = Manifest.of("transformers", [file_of("model.safetensors", *parts)])
    assert await team.put(manifest) == manifest.digest()


def torch_archive() -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("model/data/0", os.urandom(40 * MIB))
        archive.writestr("model/data.pkl", pickle.dumps({"a": 1}))
    return buffer.getvalue()


@pytest.mark.parametrize(
    "content",
    [pickle.dumps({"a": [1, 2]}, protocol=protocol) for protocol in range(6)] + [torch_archive()],
    ids=[*(f"protocol {protocol}" for protocol in range(6)), "torch, over two blobs"],
)
@pytest.mark.parametrize("path", ["pytorch_model.bin", "notes.txt"])
async def test_a_pickle_is_refused_under_any_name(team: Caller, content: bytes, path: str) -> None:
    with pytest.raises(InvalidArgument) as caught:
        await team.push({"config.json": b"{}", path: content})
    assert caught.value.reason == "PICKLE_REFUSED"
    assert path in caught.value.message
    assert await refusal(team.get(manifest_of({"config.json": b"{}", path: content}).digest())) == (
        "NOT_FOUND",
        "MANIFEST_NOT_FOUND",
    )


async def test_a_put_pins_for_the_caller_for_a_day(server: ArtifactServer, team: Caller) -> None:
    digest = await team.push(SMALL)
    async with server.database.read() as connection:
        (pin,) = await connection.execute(select(pins))
    assert (pin.namespace, pin.digest, pin.subject) == ("team", digest, "user:ann")
    assert timedelta(hours=23) < pin.expire_time - datetime.now(UTC) < timedelta(hours=25)


async def test_the_store_holds_what_the_index_can_be_made_from_again(team: Caller, store: FaultyBlobs) -> None:
    digest = await team.push(SMALL, namespace="Team")
    manifest = json.loads(await store.inner.get(f"manifests/{digest[:2]}/{digest}.json"))
    assert [file["path"] for file in manifest["files"]] == sorted(SMALL)
    assert [info.key async for info in store.inner.list("namespaces/")] == [f"namespaces/team/{digest}"]
