"""The commands that change what is in the catalog."""

import json
import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import Result

from support.published import CHAT
from support.terminal import ZOO

Tree = Callable[..., Path]
Zoo = Callable[..., Result]


def test_versions_are_labelled_deprecated_deleted_and_brought_back(chat: Zoo, tree: Tree):
    chat("push", tree({**CHAT, "x": b"2"}), "team/chat")
    assert json.loads(chat("versions", "label", "team/chat@2", "stage=test", "--json").stdout)["labels"] == {
        "stage": "test"
    }
    assert chat("versions", "deprecate", "team/chat@2", "--reason", "too slow").exit_code == 0
    shown = chat("show", "team/chat@2").stdout
    assert "DEPRECATED: too slow" in shown
    assert "stage=test" in shown
    assert chat("show", "team/chat", "--json").stdout.count('"latest_version": 1')
    assert "no labels" in chat("versions", "label", "team/chat@2", "stage=").stdout
    assert "zoo versions undelete team/chat@2" in chat("versions", "delete", "team/chat@2", "--yes").stdout
    assert "2" not in [row.split()[0] for row in chat("versions", "list", "team/chat").stdout.splitlines()[1:]]
    assert "DELETED" in chat("versions", "list", "team/chat", "--deleted").stdout
    assert "is DEPRECATED again" in chat("versions", "undelete", "team/chat@2").stdout
    assert "was not deleted" in chat("versions", "undelete", "team/chat@2").stdout
    assert "READY" in chat("versions", "reinstate", "team/chat@2").stdout


def test_a_version_is_named_by_its_number_alone(chat: Zoo):
    for words in (("delete", "team/chat", "--yes"), ("deprecate", "team/chat@prod"), ("label", "team/chat", "a=b")):
        result = chat("versions", *words)
        assert (result.exit_code, "name one, as team/chat@1" in result.stderr) == (6, True)
    assert chat("versions", "label", "team/chat@1", "nothing").exit_code == 2


def test_what_is_in_use_says_so_and_purging_ends_it(chat: Zoo):
    chat("alias", "set", "team/chat", "prod", "1", "--min", "1", "--max", "3", "--resource-class", "gpu", "--pinned")
    assert "1-3 workers of gpu, pinned" in chat("alias", "get", "team/chat", "prod").stdout
    assert (
        "1-3 workers of cpu, pinned" in chat("alias", "set", "team/chat", "prod", "1", "--resource-class", "cpu").stdout
    )
    refused = chat("versions", "delete", "team/chat@1", "--yes")
    assert (refused.exit_code, "VERSION_IN_USE" in refused.stderr, "prod" in refused.stderr) == (6, True, True)
    chat("alias", "delete", "team/chat", "prod")
    chat("versions", "delete", "team/chat@1")
    assert chat("versions", "purge", "team/chat@1", "--yes").stdout == "purged team/chat@1\n"
    assert "VERSION_PURGED" in chat("versions", "undelete", "team/chat@1").stderr


def test_models_are_edited_deleted_and_brought_back(chat: Zoo):
    assert chat("model", "edit", "team/chat", "--description", "Small talk", "--owner", "team:talk").exit_code == 0
    assert all(word in chat("show", "team/chat").stdout for word in ("Small talk", "team:talk"))
    assert "zoo model undelete team/chat" in chat("model", "delete", "team/chat", "--yes").stdout
    assert "team/chat" not in chat("models").stdout
    assert "team/chat" in chat("models", "--deleted").stdout
    assert chat("model", "undelete", "team/chat").exit_code == 0
    assert "team/chat" in chat("models").stdout
    assert chat("model", "edit", "team/chat").exit_code == 6
    made = json.loads(chat("model", "create", "team/words", "--kind", "dataset", "--json").stdout)
    assert (made["kind"], made["owner"]) == ("DATASET", "admin")


def test_namespaces_are_shown_changed_and_deleted(zoo: Zoo):
    assert zoo("namespaces", "update", "team", "--quota-bytes", "5000000", "--keep-versions", "3").exit_code == 0
    assert zoo("namespaces", "update", "team", "--keep-checkpoints", "4").exit_code == 0
    shown = zoo("namespaces", "show", "team").stdout
    assert "unsafe files" in shown
    assert all(
        word in shown
        for word in ("5.0 MB", "the newest 3 versions", "the newest 4 of a training job", "for 30 days", "refused")
    )
    answered = json.loads(zoo("namespaces", "show", "team", "--json").stdout)
    assert (answered["quota_bytes"], answered["used_bytes"], answered["policy"]["keep_versions"]) == (5_000_000, 0, 3)
    assert zoo("namespaces", "delete", "team", "--yes").stdout == "deleted team\n"
    assert zoo("namespaces", "show", "team").exit_code == 3


def test_metrics_are_set_and_shown(chat: Zoo):
    chat("metrics", "set", "team/chat@1", "team/words", "accuracy=0.91", "loss=1e-3", "--split", "test")
    assert "0.91" in chat("metrics", "show", "team/chat").stdout
    assert "team/words" in chat("show", "team/chat").stdout
    metrics = json.loads(chat("metrics", "show", "team/chat", "--json").stdout)["metrics"]
    assert [(m["split"], m["name"], m["value"]) for m in metrics] == [
        ("test", "accuracy", 0.91),
        ("test", "loss", 1e-3),
    ]
    for wrong in ("accuracy", "accuracy=high", "accuracy=nan", "=1"):
        assert chat("metrics", "set", "team/chat@1", "team/words", wrong).exit_code == 2


def test_versions_are_found_by_what_was_said_of_them(chat: Zoo, tree: Tree):
    chat("push", tree({**CHAT, "x": b"2"}), "team/chat")
    for number, accuracy in ((1, "0.9"), (2, "0.8")):
        chat("metrics", "set", f"team/chat@{number}", "team/words", f"accuracy={accuracy}")

    def numbers(*words: str) -> list[str]:
        return [row.split()[0] for row in chat("versions", "list", "team/chat", *words).stdout.splitlines()[1:]]

    metric = 'metrics."team/words".accuracy'
    assert numbers("--filter", f"{metric} > 0.85") == ["1"]
    assert numbers("--sort", f"{metric} desc") == ["1", "2"]
    assert numbers("--sort", f"{metric} desc", "--limit", "1") == ["1"]
    assert "accuracy=0.8" in chat("versions", "list", "team/chat", "--filter", "metrics:*").stdout
    wrong = chat("versions", "list", "team/chat", "--filter", "stage = prod")
    assert (wrong.exit_code, "character 1" in wrong.stderr) == (6, True)


def test_access_is_asked_for_and_granted(chat: Zoo, monkeypatch: pytest.MonkeyPatch):
    chat("model", "edit", "team/chat", "--gated")

    def viewer(*words: str) -> Result:
        return chat("--key", "viewer-key", *words)

    shown = viewer("show", "team/chat")
    assert (shown.exit_code, "zoo access request team/chat" in shown.stderr) == (0, True)
    refused = viewer("pull", "team/chat")
    assert (refused.exit_code, "ACCESS_NOT_GRANTED" in refused.stderr) == (4, True)
    assert viewer("access", "request", "team/chat", "--reason", "for the demo").stdout == "team/chat: PENDING\n"
    assert "for the demo" in chat("access", "list", "team/chat", "--state", "pending").stdout
    assert "APPROVED" in chat("access", "approve", "team/chat", "user:vera").stdout
    assert viewer("pull", "team/chat").exit_code == 0
    assert "REVOKED" in chat("access", "revoke", "team/chat", "user:vera", "--reason", "over").stdout
    assert json.loads(viewer("access", "list", "--json").stdout)["access_requests"][0]["decision_reason"] == "over"
    assert "ACCESS_STATE_INVALID" in chat("access", "deny", "team/chat", "user:vera").stderr


def test_a_terminal_is_asked_before_anything_is_deleted(chat: Zoo):
    leader, follower = os.openpty()
    os.write(leader, b"n\n")
    words = [ZOO, "versions", "delete", "team/chat@1"]
    done = subprocess.run(words, stdin=follower, capture_output=True, text=True, timeout=60, check=False)
    os.close(leader)
    os.close(follower)
    assert (done.returncode, "Delete the version team/chat@1?" in done.stderr) == (1, True)
    assert json.loads(chat("versions", "list", "team/chat", "--json").stdout)["versions"][0]["state"] == "READY"
