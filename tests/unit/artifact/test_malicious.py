"""What the service does with files that would do harm: it refuses them, and does nothing else."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from support.artifact_server import ArtifactServer, Caller, file_of, manifest_of, refusal
from support.malicious import ATTACK, CORPUS, MARK
from zoo_server.principal import Role

TESTS = Path(__file__).parents[2]
# Of a file that breaks its format nobody says that it is stored as it is, whatever a namespace takes.
NEVER = ("GGUF_INVALID", "SAFETENSORS_INVALID")


@pytest.fixture(scope="module")
def audited(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    command = [sys.executable, "-m", "support.audited_artifact", str(tmp_path_factory.mktemp("audited"))]
    done = subprocess.run(command, cwd=TESTS, capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_the_service_refuses_every_malicious_file_for_what_it_is(audited: dict[str, Any]) -> None:
    assert {name: sample.reason for name, sample in CORPUS.items()} == audited["answers"]


def test_the_services_process_runs_loads_and_writes_nothing(audited: dict[str, Any]) -> None:
    assert audited["events"] == []
    assert not MARK.exists()


def test_a_namespace_that_takes_opaque_files_takes_them_as_opaque_alone(audited: dict[str, Any]) -> None:
    refused = {name: reason for name, reason in audited["allowed"].items() if reason}
    assert set(refused.values()) <= set(NEVER)
    assert sum(not reason for reason in audited["allowed"].values()) > 30


async def test_in_any_other_format_they_stay_refused(server: ArtifactServer, team: Caller) -> None:
    await server.caller({"team": Role.ADMIN}).allow_opaque()
    await team.write(ATTACK)
    for format in ("transformers", "onnx", "dataset", "checkpoint"):
        manifest = manifest_of({"weights.bin": ATTACK}, format)
        assert await refusal(team.put(manifest)) == ("INVALID_ARGUMENT", "PICKLE_REFUSED")


async def test_what_one_namespace_took_another_still_refuses(server: ArtifactServer, team: Caller) -> None:
    await server.caller({"team": Role.ADMIN}).allow_opaque()
    assert await team.allows_opaque()
    await team.push({"weights.bin": ATTACK})
    other = server.caller({"other": Role.PUBLISHER})
    await other.write(ATTACK, namespace="other")
    manifest = manifest_of({"weights.bin": ATTACK})
    assert await refusal(other.put(manifest, "other")) == ("INVALID_ARGUMENT", "PICKLE_REFUSED")


async def test_a_policy_that_is_taken_back_holds_for_what_comes_next(server: ArtifactServer, team: Caller) -> None:
    admin = server.caller({"team": Role.ADMIN})
    await admin.allow_opaque()
    stored = await team.push({"weights.bin": ATTACK})
    await admin.allow_opaque(allow=False)
    assert await team.read(stored, "weights.bin") == ATTACK
    assert await refusal(team.put(manifest_of({"weights.bin": ATTACK}))) == ("INVALID_ARGUMENT", "PICKLE_REFUSED")
    assert await refusal(team.put(manifest_of({"b.bin": ATTACK}))) == ("INVALID_ARGUMENT", "PICKLE_REFUSED")


SOURCES = [
    *("/etc/passwd", "../../etc/passwd", "..\\..\\x", "a/../../b", "a/..", "./a", "a//b", "", ".", "..", "~/x"),
    *("a/./b", "file:///etc/x", "http://x/../y", "s3://b/../k", "C:\\x", "c:x", "\\\\host\\share", "a\x00b", "a\nb"),
    *("a\u202eb", "a\u200bb", "CON", "a/aux.txt", "a ", "a.", "a:b", "a*", "e\u0301", "a" * 256, "\ud800"),
]  # fmt: skip


@pytest.mark.parametrize("path", [source for source in SOURCES if source != "\ud800"], ids=ascii)
async def test_no_path_leads_anywhere_but_to_a_file_of_the_manifest(team: Caller, path: str) -> None:
    digest = await team.push({"a.txt": b"1"})
    code, reason = await refusal(team.read(digest, path))
    assert (code, reason) in {("NOT_FOUND", "FILE_NOT_FOUND"), ("INVALID_ARGUMENT", "FIELD_INVALID")}


@pytest.mark.parametrize("digest", ["sha256:" + "0" * 64, "0" * 63, "A" * 64, "../" + "0" * 61, "sha256:../../x", ""])
async def test_nothing_but_a_digest_names_a_manifest(team: Caller, digest: str) -> None:
    assert await refusal(team.get(digest)) == ("INVALID_ARGUMENT", "FIELD_INVALID")


async def test_an_escaped_path_is_a_name_like_any_other(team: Caller) -> None:
    digest = await team.push({"%2e%2e%252fx": b"1"})
    assert await team.read(digest, "%2e%2e%252fx") == b"1"
    assert await refusal(team.read(digest, "../x")) == ("NOT_FOUND", "FILE_NOT_FOUND")


async def test_what_is_served_under_a_path_has_the_digest_that_is_listed(team: Caller) -> None:
    files = {f"{number}/x.bin": bytes([number]) * 1000 for number in range(5)}
    digest = await team.push(files)
    for path, content in files.items():
        assert file_of(path, await team.read(digest, path)) == file_of(path, content)
