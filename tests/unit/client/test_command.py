"""The command `zoo`: what it prints, and how it ends."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import Result

from modelzoo.client import Client
from modelzoo.errors import ResourceExhausted
from support.fake_workers import FakeInference
from support.front_door import FrontDoor
from support.published import CHAT
from support.terminal import ZOO, on_a_terminal
from support.weights import weights

Tree = Callable[..., Path]
Zoo = Callable[..., Result]


def test_push_and_pull_answer_one_object_with_the_promised_names(zoo: Zoo, tree: Tree, tmp_path: Path):
    root = tree({"a.bin": b"a" * 1000, ".cache/x": b""})
    pushed = json.loads(zoo("push", root, "team/m", "--json").stdout)
    assert (pushed["reference"], pushed["bytes_total"], pushed["bytes_sent"]) == ("team/m@1", 1000, 1000)
    assert len(pushed["digest"]) == 64
    assert pushed["seconds"] > 0
    pulled = json.loads(zoo("--json", "pull", "team/m", tmp_path / "out").stdout)
    assert (pulled["reference"], pulled["digest"]) == ("team/m@1", pushed["digest"])
    assert (pulled["bytes_total"], pulled["bytes_received"]) == (1000, 1000)
    assert (tmp_path / "out" / "a.bin").read_bytes() == b"a" * 1000


def test_push_says_what_it_left_out_and_what_it_made(zoo: Zoo, tree: Tree):
    result = zoo("push", tree({"a": b"1", ".git/x": b""}), "team/m", "--alias", "prod")
    assert result.stdout.startswith("team/m@1  sha256:")
    assert ".git" in result.stderr
    assert "prod" in zoo("alias", "list", "team/m").stdout


def test_a_push_of_what_is_there_says_that_nothing_changed(zoo: Zoo, tree: Tree):
    root = tree(CHAT)
    assert "unchanged" not in zoo("push", root, "team/m").stderr
    again = zoo("push", root, "team/m")
    assert (again.stdout.split()[0], "unchanged: team/m@1" in again.stderr) == ("team/m@1", True)
    assert json.loads(zoo("push", root, "team/m", "--json").stdout)["is_new"] is False


@pytest.mark.parametrize(
    ("files", "lacking"),
    [
        ({"README.md": b"x"}, "no weights"),
        ({"config.json": b"{}"}, "no *.safetensors"),
        ({"model.safetensors": weights(8)}, "no config.json"),
        ({"model.gguf": b"GGUF\3" + bytes(19)}, "GGUF"),
    ],
)
def test_push_says_what_keeps_a_worker_from_loading_it(zoo: Zoo, tree: Tree, files: dict[str, bytes], lacking: str):
    result = zoo("push", tree(files), "team/m")
    assert (result.exit_code, lacking in result.stderr, "zoo import" in result.stderr) == (0, True, True)
    assert zoo("push", tree(files), "team/m", "--format", "opaque").stderr.count("zoo import") == 0


def test_push_of_a_model_says_no_such_thing(zoo: Zoo, tree: Tree):
    assert "zoo import" not in zoo("push", tree(CHAT), "team/m").stderr


def test_show_tells_facts_versions_aliases_files_and_card(chat: Zoo):
    text = chat("show", "team/chat").stdout
    for part in ("team/chat@1", "GPT2LMHeadModel", "text-generation", "READY", "model.safetensors", "# Chat", "mit"):
        assert part in text
    shown = json.loads(chat("show", "team/chat", "--json").stdout)
    assert set(shown) == {"model", "version", "base", "card", "versions", "aliases", "files"}
    assert [file["path"] for file in shown["files"]] == ["README.md", "config.json", "model.safetensors"]


def test_show_of_an_older_version_has_its_own_card(chat: Zoo, tree: Tree):
    chat("push", tree({**CHAT, "README.md": b"# Newer words"}, "newer"), "team/chat")
    older, newest = chat("show", "team/chat@1").stdout, chat("show", "team/chat").stdout
    assert ("# Chat" in older, "Newer words" in older) == (True, False)
    assert ("# Chat" in newest, "Newer words" in newest) == (False, True)
    chat("push", tree({name: data for name, data in CHAT.items() if name != "README.md"}, "bare"), "team/chat")
    assert json.loads(chat("show", "team/chat@3", "--json").stdout)["card"] == ""


def test_models_are_listed(chat: Zoo):
    assert "team/chat" in chat("models").stdout
    assert [m["name"] for m in json.loads(chat("models", "--json").stdout)["models"]] == ["team/chat"]
    nothing = chat("models", "--namespace", "other")
    assert (nothing.exit_code, nothing.stdout, "found no model" in nothing.stderr) == (0, "", True)


def test_aliases_are_moved_by_weight_read_and_deleted(chat: Zoo, tree: Tree):
    chat("push", tree({**CHAT, "x": b"2"}), "team/chat")
    moved = json.loads(chat("alias", "set", "team/chat", "prod", "1=90", "2=10", "--json").stdout)
    assert moved["targets"] == [{"version": 1, "weight": 90}, {"version": 2, "weight": 10}]
    assert "1=90 2=10" in chat("alias", "get", "team/chat", "prod").stdout
    assert chat("alias", "set", "team/chat", "prod", "2", "--etag", "absent").exit_code == 5
    assert chat("alias", "delete", "team/chat", "prod").exit_code == 0
    assert chat("alias", "get", "team/chat", "prod").exit_code == 3


def test_an_alias_reads_the_same_wherever_it_is_shown(chat: Zoo):
    chat("alias", "set", "team/chat", "prod", "1")
    for shown in (chat("show", "team/chat").stdout, chat("alias", "list", "team/chat").stdout):
        [row] = [row.split() for row in shown.splitlines() if row.startswith("prod")]
        assert row[1] == "1"


@pytest.mark.parametrize(
    ("words", "meant"),
    [
        (["show", "team/chta"], "team/chat?"),
        (["pull", "team/chat@prdo"], "team/chat@prod?"),
        (["alias", "get", "team/chat", "prd"], "team/chat@prod?"),
        (["show", "team/chat@9"], "team/chat@1, the latest?"),
    ],
)
def test_what_is_not_there_is_told_with_what_comes_close(chat: Zoo, words: list[str], meant: str):
    chat("alias", "set", "team/chat", "prod", "1")
    result = chat(*words)
    assert (result.exit_code, f"Did you mean {meant}" in result.stderr) == (3, True)


@pytest.mark.parametrize(
    ("word", "here"), [("search", "zoo models"), ("delete", "zoo model delete"), ("login", "ZOO_KEY")]
)
def test_what_other_tools_call_it_is_told_by_its_name_here(zoo: Zoo, word: str, here: str):
    result = zoo(word, "something")
    assert (result.exit_code, here in result.stderr, "Did you mean" in result.stderr) == (2, True, False)


def test_a_file_of_rows_is_pushed_alone_as_a_dataset(zoo: Zoo, client: Client, tmp_path: Path):
    (tmp_path / "reviews.jsonl").write_text('{"text": "a", "label": "b"}\n')
    assert zoo("push", tmp_path / "reviews.jsonl", "team/reviews", "--dataset").exit_code == 0
    assert [file.path for file in client.manifest("team/reviews").files] == ["reviews.jsonl"]


def test_keys_and_grants_come_and_go(zoo: Zoo):
    made = json.loads(zoo("keys", "create", "team:search", "--expires", "2030-01-01", "--json").stdout)
    assert made["secret"].startswith("zoo_")
    assert made["key"]["expire_time"].startswith(("2030-01-01", "2029-12-31"))
    assert made["secret"] not in zoo("keys", "list").stdout
    assert zoo("keys", "revoke", made["key"]["name"]).exit_code == 0
    assert zoo("grants", "add", "team:search", "team", "invoker").exit_code == 0
    assert "invoker" in zoo("grants", "list", "team").stdout
    assert zoo("grants", "remove", "team:search", "team").exit_code == 0
    refused = zoo("grants", "add", "team:search", "team", "king")
    assert (refused.exit_code, "viewer, invoker, publisher" in refused.stderr) == (2, True)


def test_a_quota_is_written_with_its_unit_and_bad_numbers_are_told_plainly(zoo: Zoo):
    assert (
        json.loads(zoo("namespaces", "update", "team", "--quota-bytes", "1.5GB", "--json").stdout)["quota_bytes"]
        == 1.5e9
    )
    assert "none of the form 10, 10k" in zoo("namespaces", "update", "team", "--quota-bytes", "much").stderr
    refused = zoo("models", "--limit", "many")
    assert (refused.exit_code, "it should be a whole number" in refused.stderr) == (2, True)
    assert "unable to parse" not in refused.stderr


def test_namespaces_workers_and_whoami_answer(zoo: Zoo):
    assert zoo("namespaces", "create", "fresh", "--description", "new").stdout == "fresh\n"
    assert "fresh" in zoo("namespaces", "list").stdout
    assert "team/chat@1" in zoo("workers").stdout
    assert json.loads(zoo("whoami", "--json").stdout) == {"subject": "admin", "roles": {"*": "ADMIN"}}


@pytest.mark.parametrize(
    ("words", "code", "reason"),
    [
        (["show", "team/nothing"], 3, "MODEL_NOT_FOUND"),
        (["pull", "team/nothing@7"], 3, "MODEL_NOT_FOUND"),
        (["show", "./team/chat"], 6, "REFERENCE_INVALID"),
        (["push", "/nowhere", "team/m"], 6, "LOCAL_PATH_INVALID"),
        (["push", "/nowhere", "team/m@7"], 6, "REFERENCE_INVALID"),
        (["models", "--key", "wrong-key"], 4, "CREDENTIAL_INVALID"),
        (["namespaces", "create", "x", "--key", "viewer-key"], 4, "ROLE_MISSING"),
        (["workers", "--url", "127.0.0.1:1"], 5, "SERVER_UNREACHABLE"),
        (["models", "--url", "ftp://x"], 6, "CONFIGURATION_MISSING"),
    ],
)
def test_failures_have_a_sentence_a_reason_and_a_code(zoo: Zoo, words: list[str], code: int, reason: str):
    result = zoo(*words)
    assert (result.exit_code, result.stdout) == (code, "")
    assert result.stderr.startswith("error: ")
    assert f"reason: {reason}" in result.stderr
    failed = json.loads(zoo(*words, "--json").stderr)["error"]
    assert failed["reason"] == reason
    assert set(failed) == {"code", "reason", "message", "metadata"}


def test_full_queue_is_worth_another_try(chat: Zoo, inference: FakeInference):
    inference.pieces, inference.failing = (), ResourceExhausted("QUEUE_FULL", "the queue is full", retry_after_s=1)
    assert chat("run", "team/chat", "hi").exit_code == 5


def test_pickle_is_refused_before_anything_is_sent(zoo: Zoo, tree: Tree, door: FrontDoor):
    result = zoo(
        "push", tree({"weights.bin": b"\x80\x04\x95\x0b\x00\x00\x00\x00\x00\x00\x00\x8c\x02os\x94."}), "team/m"
    )
    assert (result.exit_code, door.bytes_up) == (6, 0)
    assert "PICKLE_REFUSED" in result.stderr


@pytest.mark.parametrize("words", [["bogus"], ["alias", "set", "team/chat", "prod", "seven"], ["push"]])
def test_wrong_usage_is_code_2(zoo: Zoo, words: list[str]):
    assert zoo(*words).exit_code == 2


def test_pulling_over_foreign_files_needs_force(chat: Zoo, tree: Tree):
    mine = tree({"config.json": b"mine"}, "mine")
    assert chat("pull", "team/chat", mine).exit_code == 6
    assert chat("pull", "team/chat", mine, "--force").exit_code == 0


def test_ctrl_c_ends_a_generation_with_130_and_on_the_server_too(chat: Zoo, inference: FakeInference):
    inference.stall = True
    with subprocess.Popen([ZOO, "run", "team/chat", "hi"], stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.read(6) == b"Paris."
        process.send_signal(signal.SIGINT)
        assert process.wait(20) == 130
    assert inference.gone.wait(10)


def test_reader_that_has_enough_ends_the_command_quietly(chat: Zoo, inference: FakeInference):
    inference.pieces = ["line\n"] * 100_000
    shell = f"set -o pipefail; {ZOO} run team/chat hi | head -n 1"
    done = subprocess.run(["bash", "-c", shell], capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "line\n", "")


def test_terminal_gets_no_control_characters_and_a_pipe_gets_all(chat: Zoo, inference: FakeInference):
    inference.pieces = ["a\x1b[2Jb", "\x9b0mc\x07\n"]
    assert on_a_terminal("run", "team/chat", "hi").startswith("a[2Jb0mc\r\n")  # the terminal adds the \r
    shown = on_a_terminal("show", "team/chat")
    assert "\x1b]0;" not in shown
    assert "Chat" in shown
    assert chat("run", "team/chat", "hi").stdout == "a\x1b[2Jb\x9b0mc\x07\n"


def test_help_lists_exit_codes_and_loads_nothing_that_takes_long():
    probe = (
        "import atexit, sys; sys.argv = ['zoo', '--help']; import modelzoo.command.main as m;"
        "atexit.register(lambda: print(*({'grpc', 'google.protobuf', 'torch', 'numpy', 'boto3'} & set(sys.modules))));"
        "m.main()"
    )
    done = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, check=True)
    assert "130 interrupted" in done.stdout
    assert done.stdout.endswith("\n\n")


def test_command_loads_no_torch():
    probe = "import sys, modelzoo.client, modelzoo.command.main as m; m.make_app(); sys.exit('torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", probe], check=True)


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_scripts_are_there(shell: str):
    environment = {**os.environ, "_ZOO_COMPLETE": f"source_{shell}"}
    done = subprocess.run([ZOO], env=environment, capture_output=True, text=True, check=True)
    assert "_ZOO_COMPLETE" in done.stdout
