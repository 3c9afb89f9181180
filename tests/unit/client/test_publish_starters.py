"""Which starters are published when: real ones, stand-ins, and those that the zoo has already."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from typer.testing import Result

from modelzoo import Client
from zoo_starters.publish import publish
from zoo_starters.starter import Measured, Starter

Zoo = Callable[..., Result]


@dataclass(frozen=True)
class Counted:
    """Trains nothing, and says for how many steps."""

    steps: int

    def train(self, packages: Path, folder: Path, steps: int) -> None:
        (folder / "steps.txt").write_text(str(steps))

    def measure(self, packages: Path, folder: Path) -> tuple[Measured, ...]:
        return ()


def starter(recipe: int = 1) -> Starter:
    return Starter(
        name="team/tiny",
        task="text-generation",
        origin="made here",
        carriers=(),
        recipe=recipe,
        make=Counted(99 + recipe),
    )


@pytest.fixture
def published(client: Client, tmp_path: Path) -> Callable[..., tuple[str, str]]:
    """Publishes and gives the reference, and how many steps the version of that reference has."""

    def run(recipe: int = 1, steps: int | None = None) -> tuple[str, str]:
        reference = publish(client, starter(recipe), tmp_path, lambda text: None, steps=steps)
        return reference, (client.pull(reference) / "steps.txt").read_text()

    return run


def test_what_is_published_is_left_alone_until_its_recipe_changes(published: Callable[..., tuple[str, str]]):
    assert published() == ("team/tiny@1", "100")
    assert published() == ("team/tiny@1", "100")
    assert published(recipe=2) == ("team/tiny@2", "101")


def test_the_real_one_takes_the_place_of_a_stand_in_and_never_the_other_way(
    published: Callable[..., tuple[str, str]], client: Client
):
    assert published(steps=2) == ("team/tiny@1", "2")
    assert client.version("team/tiny@1").source == "made here (recipe 1), a stand-in of 2 steps"
    assert published(steps=2) == ("team/tiny@1", "2")
    assert published() == ("team/tiny@2", "100")
    assert published(steps=2) == ("team/tiny@2", "100")


def test_the_list_tells_ready_ones_from_those_to_be_trained(zoo: Zoo):
    listed = {each["name"]: each for each in json.loads(zoo("starters", "list", "--json").stdout)["starters"]}
    assert listed["zoo/all-minilm-l6-v2"]["state"] in ("to be converted", "made here")
    assert listed["zoo/gpt2-mini"]["state"] in ("trained by a job", "made here")
    assert listed["zoo/bert-mini-wordnet"]["task"] == "text-classification"
    assert zoo("starters", "list").stdout.startswith("NAME")


@pytest.mark.parametrize("words", [("publish", "zoo/gpt3"), ("build", "gpt3", "gpt2-mini"), ("check", "gpt3")])
def test_a_name_that_is_no_starter_is_refused_with_those_that_are(zoo: Zoo, words: tuple[str, ...]):
    result = zoo("starters", *words)
    assert result.exit_code == 2
    assert "zoo/gpt3" in result.stderr
    assert "zoo/gpt2-mini" in result.stderr


def test_nothing_is_built_unless_it_is_named(zoo: Zoo):
    assert zoo("starters", "build").exit_code == 2


def test_what_was_not_trained_here_cannot_be_checked(zoo: Zoo):
    result = zoo("starters", "check", "all-minilm-l6-v2")
    assert (result.exit_code, "not trained here" in result.stderr) == (2, True)
