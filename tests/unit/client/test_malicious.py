"""Malicious files are refused before anything of them is sent."""

from collections.abc import Callable
from pathlib import Path

import pytest

from modelzoo.client import Client
from modelzoo.errors import InvalidArgument
from support.front_door import FrontDoor
from support.malicious import ATTACK, CORPUS


def test_push_refuses_every_malicious_file_and_sends_nothing(
    client: Client, door: FrontDoor, tree: Callable[..., Path]
):
    refused: dict[str, str] = {}
    for number, (name, sample) in enumerate(CORPUS.items()):
        with pytest.raises(InvalidArgument) as caught:
            client.push(tree({sample.path: sample.content, "README.md": b"x"}, str(number)), "team/bad")
        refused[name] = caught.value.reason
        assert caught.value.metadata["path"] == sample.path
    assert refused == {name: sample.reason for name, sample in CORPUS.items()}
    assert list(client.models("team")) == []
    assert door.bytes_up == 0


def test_push_stores_it_as_opaque_where_the_namespace_says_so(
    client: Client, tree: Callable[..., Path], tmp_path: Path
):
    root = tree({"weights.pkl": ATTACK})
    client.manage.update_namespace("team", allow_opaque=True)
    pushed = client.push(root, "team/raw", format="opaque")
    assert (client.pull("team/raw", tmp_path / "back") / "weights.pkl").read_bytes() == ATTACK
    assert client.version(pushed.reference).facts.format == "opaque"
    with pytest.raises(InvalidArgument, match="pickle"):
        client.push(root, "team/raw", format="transformers")
