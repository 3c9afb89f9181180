"""`zoo sign`, `zoo verify`, `zoo signers`, `zoo quarantine` and `zoo release`."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import Result

from support.front_door import FrontDoor
from support.published import CHAT

Zoo = Callable[..., Result]


@pytest.fixture
def key(chat: Zoo, tmp_path: Path) -> Path:
    """A new private key; the public one lies beside it."""
    assert chat("sign", "--new-key", tmp_path / "release.pem").exit_code == 0
    return tmp_path / "release.pem"


def trusted(zoo: Zoo, key: Path) -> None:
    assert zoo("signers", "trust", "team", "release", key.with_suffix(".pub")).exit_code == 0


def test_a_signed_version_is_verified_with_the_key_and_with_whom_the_namespace_trusts(chat: Zoo, key: Path):
    signed = chat("sign", "team/chat", "--key", key, "--json")
    assert json.loads(signed.stdout)["reference"] == "team/chat@1"
    [verdict] = json.loads(chat("verify", "team/chat@1", "--public-key", key, "--json").stdout)["signatures"]
    assert (verdict["says"], verdict["files"]) == ("holds", len(CHAT))
    unknown = chat("verify", "team/chat@1")
    assert (unknown.exit_code, "SIGNATURE_NOT_FOUND" in unknown.stderr) == (3, True)
    trusted(chat, key)
    assert "release" in chat("verify", "team/chat@1").stdout
    assert "signed by release" in chat("sign", "team/chat@1", "--key", key).stdout


def test_a_signature_that_nobody_trusts_yet_is_told_from_none(chat: Zoo, key: Path):
    assert "has no signature" in chat("verify", "team/chat@1").stderr
    key_id = json.loads(chat("sign", "team/chat@1", "--key", key, "--json").stdout)["key_id"]
    unknown = chat("verify", "team/chat@1").stderr
    assert f"signed by {key_id[:16]}" in unknown
    assert "zoo signers trust" in unknown
    assert chat("sign", "--new-key", key.with_name("other.pem")).exit_code == 0
    assert "not with this key" in chat("verify", "team/chat@1", "--public-key", key.with_name("other.pub")).stderr


def test_signing_downloads_nothing(chat: Zoo, key: Path, door: FrontDoor):
    before = door.requests.get("ReadFile", 0)
    assert chat("sign", "team/chat@1", "--key", key).exit_code == 0
    assert door.requests.get("ReadFile", 0) == before


def test_a_signature_in_a_file_verifies_the_pulled_directory(chat: Zoo, key: Path, tmp_path: Path):
    signature, pulled = tmp_path / "model.sig", tmp_path / "pulled"
    assert chat("sign", "team/chat@1", "--key", key, "--out", signature).exit_code == 0
    assert chat("pull", "team/chat@1", pulled).exit_code == 0
    verify = ("verify", pulled, "--signature", signature, "--public-key", key.with_suffix(".pub"))
    assert chat(*verify).exit_code == 0
    alone = chat("verify", pulled)
    assert (alone.exit_code, "--signature" in alone.stderr) == (2, True)
    (pulled / "config.json").write_text("{}")
    changed = chat(*verify)
    assert (changed.exit_code, "config.json" in changed.stderr) == (6, True)


def test_a_signature_of_another_tool_is_stored(chat: Zoo, key: Path, tmp_path: Path):
    signature = tmp_path / "model.sig"
    assert chat("sign", "team/chat@1", "--key", key, "--out", signature).exit_code == 0
    stored = ("sign", "team/chat@1", "--signature", signature, "--public-key")
    assert chat(*stored, key.with_suffix(".pub")).exit_code == 0
    assert chat("sign", "--new-key", tmp_path / "other.pem").exit_code == 0
    assert "SIGNATURE_INVALID" in chat(*stored, tmp_path / "other.pub").stderr


def test_a_key_that_is_there_is_never_written_over(chat: Zoo, key: Path):
    before = key.read_bytes()
    assert chat("sign", "--new-key", key).exit_code == 6
    assert key.read_bytes() == before


def test_signatures_that_are_required_hold_aliases_back(chat: Zoo, key: Path):
    assert chat("signers", "require", "team", "on").exit_code == 6
    trusted(chat, key)
    assert "signatures required" in chat("signers", "require", "team", "on").stdout
    refused = chat("alias", "set", "team/chat", "prod", "1")
    assert (refused.exit_code, "zoo sign" in refused.stderr) == (6, True)
    assert chat("sign", "team/chat@1", "--key", key).exit_code == 0
    assert chat("alias", "set", "team/chat", "prod", "1").exit_code == 0
    assert chat("signers", "distrust", "team", "release").exit_code == 6
    assert "not required" in chat("signers", "require", "team", "off").stdout
    assert chat("signers", "distrust", "team", "release").exit_code == 0
    assert "release" not in chat("signers", "list", "team").stdout


def test_a_quarantined_version_is_shown_with_its_reason_and_put_back(chat: Zoo, tmp_path: Path):
    held = chat("quarantine", "team/chat@1", "--reason", "ticket 4711")
    assert held.stdout == "team/chat@1  QUARANTINED  ticket 4711\n"
    assert "ticket 4711" in chat("show", "team/chat@1").stdout
    assert chat("pull", "team/chat").exit_code == 3
    assert "ticket 4711" in chat("--key", "viewer-key", "pull", "team/chat@1", tmp_path / "out").stderr
    assert "ticket 4711" in chat("--key", "viewer-key", "show", "team/chat@1").stdout
    assert chat("release", "team/chat@1").stdout == "team/chat@1  READY\n"
    assert chat("pull", "team/chat", tmp_path / "out").exit_code == 0
