"""Lineage through the client and the command: said by a push, drawn as a tree."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import Result

from modelzoo.client import Client
from modelzoo.errors import FailedPrecondition, InvalidArgument
from modelzoo.records import Parent
from support.front_door import FrontDoor

Tree = Callable[..., Path]
Zoo = Callable[..., Result]


@pytest.fixture
def family(zoo: Zoo, tree: Tree) -> Zoo:
    """team/base@1 <- team/tuned@1 <- team/small@1, and team/tuned@2 of base and tuned@1."""
    for name, *parents in (
        ("base",),
        ("tuned", "team/base:fine-tuned"),
        ("small", "team/tuned:quantised"),
        ("tuned", "team/base@1:merged", "team/tuned@1:merged"),
    ):
        options = [word for parent in parents for word in ("--parent", parent)]
        result = zoo("push", tree({"a": f"{name} {parents}".encode()}, name), f"team/{name}", *options)
        assert result.exit_code == 0, result.stderr
    return zoo


def test_the_command_draws_both_ways(family: Zoo):
    drawn = family("lineage", "team/tuned@1").stdout.splitlines()
    assert [" ".join(line.split()[:3]) for line in drawn[1:]] == [
        "made from:",
        "└─ fine-tuned team/base@1",
        "became:",
        "├─ quantised team/small@1",
        "└─ merged team/tuned@2",
    ]
    assert drawn[0].startswith("team/tuned@1  ")
    down = family("lineage", "team/base", "--down").stdout
    assert "made from" not in down
    assert "│  └─ merged  team/tuned@2" in down
    value = json.loads(family("lineage", "team/small", "--json").stdout)
    assert [node["reference"] for node in value["nodes"]] == ["team/small@1", "team/tuned@1", "team/base@1"]
    assert value["edges"][0]["kind"] == "QUANTISED"


def test_an_edge_is_drawn_with_its_dataset_and_its_job(family: Zoo, client: Client):
    parent = Parent("team/base@1", "fine_tuned", job="job_1", dataset="team/topics@3")
    client.lineages.create_edge("team/small@1", parent)
    drawn = family("lineage", "team/small@1", "--up").stdout.splitlines()
    assert next(line for line in drawn if "job_1" in line).endswith("  with team/topics@3  by job_1")
    assert sum("  with " in line for line in drawn) == 1


def test_a_hidden_parent_is_drawn_as_hidden(family: Zoo, client: Client, door: FrontDoor, tree: Tree):
    client.create_namespace("secret")
    client.push(tree({"s": b"s"}, "s"), "secret/base")
    client.lineages.create_edge("team/base", Parent("secret/base", "fine_tuned"))
    with Client(door.url, "viewer-key") as viewer:
        assert [node.hidden for node in viewer.lineages.get("team/base", direction="up").nodes] == [False, True]
    assert "(not visible to you)" in family("lineage", "team/base", "--key", "viewer-key").stdout


def test_pushing_again_adds_parents_and_a_parents_bytes_are_not_sent(client: Client, tree: Tree):
    client.push(tree({"a": b"a" * 1000}, "base"), "team/base")
    result = client.push(tree({"a": b"a" * 1000}, "copy"), "team/copy")
    again = client.push(tree({"a": b"a" * 1000}, "copy"), "team/copy", parents=[Parent("team/base")])
    assert (result.reference, again.reference, again.bytes_sent) == ("team/copy@1", "team/copy@1", 0)
    assert client.lineages.get("team/copy").edges[0].kind == "DERIVED"
    with pytest.raises(FailedPrecondition) as caught:
        client.lineages.create_edge("team/base", Parent("team/copy"))
    assert caught.value.reason == "LINEAGE_CYCLE"
    client.lineages.delete_edge("team/copy", "team/base", "derived")
    assert client.lineages.get("team/copy").edges == ()


def test_a_kind_that_is_none_is_refused_before_anything_is_sent(zoo: Zoo, client: Client, tree: Tree):
    client.push(tree({"a": b"1"}), "team/base")
    refused = zoo("push", tree({"a": b"1"}), "team/m", "--parent", "team/base:cloned")
    assert (refused.exit_code, "fine-tuned" in refused.stderr) == (2, True)
    with pytest.raises(InvalidArgument):
        client.push(tree({"a": b"1"}), "team/m", parents=[Parent("team/base", "cloned")])
    assert "team/m" not in zoo("models").stdout
