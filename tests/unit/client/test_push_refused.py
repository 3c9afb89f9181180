"""What a push refuses before it sends anything, so that nothing valuable is replaced and no name is used up."""

from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import Result

from modelzoo.client import Client
from modelzoo.errors import FailedPrecondition, InvalidArgument, ResourceExhausted
from support.front_door import FrontDoor
from support.published import CHAT
from support.weights import weights

Tree = Callable[..., Path]
Zoo = Callable[..., Result]

DATA = {"train.jsonl": b'{"text": "a", "label": "b"}\n'}


@pytest.mark.parametrize("files", [DATA, {"config.json": b"{}"}, {"model.safetensors": weights(8)}])
def test_what_no_worker_loads_does_not_become_the_latest_version_of_a_model_that_works(
    client: Client, tree: Tree, files: dict[str, bytes]
):
    client.push(tree(CHAT, "chat"), "team/chat")
    with pytest.raises(FailedPrecondition) as caught:
        client.push(tree(files), "team/chat")
    assert caught.value.reason == "NOT_LOADABLE"
    assert caught.value.metadata == {"version": "team/chat@1", "format": "opaque"}
    assert client.version("team/chat").version == 1


def test_it_does_where_the_format_is_said(client: Client, tree: Tree):
    client.push(tree(CHAT, "chat"), "team/chat")
    assert client.push(tree(DATA), "team/chat", format="opaque").reference == "team/chat@2"
    client.push(tree({"x": b"1"}, "other"), "team/files")
    assert client.push(tree({"x": b"2"}, "other"), "team/files").reference == "team/files@2"


def test_the_command_says_what_to_do_with_a_mistaken_push(chat: Zoo, tree: Tree):
    result = chat("push", tree(DATA), "team/chat")
    assert result.exit_code == 6
    for word in ("NOT_LOADABLE", "team/chat@1", "--dataset", "--format opaque"):
        assert word in result.stderr


def test_a_name_of_the_other_kind_is_refused_before_anything_is_sent(chat: Zoo, client: Client, tree: Tree):
    client.push(tree(DATA), "team/data", format="dataset")
    for name, format in (("team/chat", "dataset"), ("team/data", None)):
        with pytest.raises(FailedPrecondition) as caught:
            client.push(tree({"more.jsonl": b'{"text": "more"}\n'}, "more"), name, format=format)
        assert caught.value.reason == "KIND_MISMATCH"


def test_a_push_that_fails_leaves_no_model_behind(client: Client, tree: Tree):
    broken = tree({"config.json": b"{}", "model.safetensors": b"\xff" * 100})
    with pytest.raises(InvalidArgument, match="safetensors"):
        client.push(broken, "team/new")
    assert list(client.models("team")) == []
    assert client.push(tree(DATA, "data"), "team/new", format="dataset").reference == "team/new@1"


def test_what_exceeds_the_quota_is_refused_before_it_is_sent(client: Client, door: FrontDoor, tree: Tree):
    client.push(tree({"a": b"a" * 3000}, "first"), "team/first")
    client.manage.update_namespace("team", quota_bytes=5000)
    door.requests.clear()
    with pytest.raises(ResourceExhausted) as caught:
        client.push(tree({"b": b"b" * 4000}, "second"), "team/second")
    assert caught.value.metadata == {"used_bytes": "3000", "size_bytes": "4000", "quota_bytes": "5000"}
    assert not {"WriteBlobs", "SignWrites", "PutManifest"} & set(door.requests)


def test_what_the_quota_counts_already_is_pushed_at_its_edge(client: Client, tree: Tree):
    files = tree({"a": b"a" * 3000})
    client.push(files, "team/first")
    client.manage.update_namespace("team", quota_bytes=3000)
    assert client.push(files, "team/first").reference == "team/first@1"
    assert client.push(files, "team/same-bytes").reference == "team/same-bytes@1"


def test_a_push_to_a_deleted_model_says_so_before_anything_is_sent(
    chat: Zoo, client: Client, door: FrontDoor, tree: Tree
):
    client.manage.delete_model("team/chat")
    door.requests.clear()
    result = chat("push", tree(CHAT, "chat"), "team/chat")
    assert (result.exit_code, "zoo model undelete team/chat" in result.stderr) == (3, True)
    assert set(door.requests) == {"GetModel"}


def test_a_word_that_is_no_format_is_refused_with_those_that_are(zoo: Zoo, door: FrontDoor, tree: Tree):
    door.requests.clear()
    result = zoo("push", tree(CHAT), "team/chat", "--format", "safetensors")
    assert (result.exit_code, "are `transformers`" in result.stderr) == (6, True)
    assert not door.requests
    assert "transformers, onnx" in " ".join(zoo("push", "--help").stdout.split())
