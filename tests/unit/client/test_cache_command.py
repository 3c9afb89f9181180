"""`zoo cache`: looking at what this machine keeps, verifying it, cleaning it."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import Result

from modelzoo.client import Client

Zoo = Callable[..., Result]
Tree = Callable[..., Path]


@pytest.fixture
def client(standing: Client, tree: Tree) -> Client:
    """A client whose cache holds `team/cached`."""
    standing.push(tree({"weights.bin": b"w" * 100_000, "config.json": b"{}"}, "cached"), "team/cached")
    standing.pull("team/cached")
    return standing


@pytest.fixture
def door(standing_door):
    return standing_door


def test_list_shows_versions_and_sums_up(zoo: Zoo):
    shown = zoo("cache", "list").stdout
    assert "team/cached@1" in shown
    assert "100 kB of " in shown
    told = json.loads(zoo("cache", "list", "--json").stdout)
    assert (told["models"][0]["names"], told["models"][0]["in_use"]) == (["team/cached@1"], False)
    assert told["used_bytes"] == 100_002


def test_verify_removes_what_is_damaged_and_the_next_pull_heals_it(zoo: Zoo, client: Client, tmp_path: Path):
    assert "2 files read, 0 damaged" in zoo("cache", "verify").stdout
    path = max((tmp_path / "cache" / "files").iterdir(), key=lambda each: each.stat().st_size)
    path.chmod(0o600)
    path.write_bytes(b"v" * 100_000)
    assert json.loads(zoo("cache", "verify", "--json").stdout) == {"files": 2, "damaged": [path.name]}
    assert (client.pull("team/cached") / "weights.bin").read_bytes() == b"w" * 100_000


def test_clean_frees_what_it_said_that_it_would(zoo: Zoo):
    assert "2 files would be removed, which would free 100 kB" in zoo("cache", "clean", "--all", "--dry-run").stdout
    assert json.loads(zoo("cache", "clean", "team/cached", "--json").stdout)["freed_bytes"] == 100_002
    assert json.loads(zoo("cache", "list", "--json").stdout)["models"] == []
    assert zoo("cache", "clean", "team/cached").exit_code == 3


@pytest.mark.parametrize(
    "words", [[], ["--all", "--to", "1G"], ["--older-than", "soon"], ["--to", "1X"], ["--older-than", "3"]]
)
def test_clean_wants_to_be_told_one_thing_that_it_understands(zoo: Zoo, words: list[str]):
    assert zoo("cache", "clean", *words).exit_code == 2


@pytest.mark.parametrize("words", [["--older-than", "1.5h"], ["--to", "1GB"], ["--to", "500"]])
def test_clean_takes_ages_and_sizes(zoo: Zoo, words: list[str]):
    assert zoo("cache", "clean", *words, "--dry-run").exit_code == 0
