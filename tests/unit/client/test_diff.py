"""What changed between two versions, and what it costs to find out."""

import json
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import numpy
import pytest
from safetensors.numpy import save
from typer.testing import Result

from modelzoo.client import Client
from modelzoo.errors import InvalidArgument, NotFound
from modelzoo.version_diff import NORMS_BYTES_MAX, ConfigChange
from support.front_door import FrontDoor

Tree = Callable[..., Path]
Zoo = Callable[..., Result]
MIB = 1024 * 1024
SLACK = 16384

BIG = numpy.random.default_rng(1).normal(size=(512, 1024)).astype("f4")  # 2 MiB, a blob of its own
TENSORS = {"big": BIG, "kept": BIG + 1, "norm.a": BIG[0], "norm.b": BIG[1], "old": BIG[2]}
CONFIG = {"model_type": "bert", "layers": 2, "rope": {"factor": 1.0, "kind": "linear"}}


def model(tensors: dict[str, numpy.ndarray], config: object = CONFIG) -> dict[str, bytes]:
    return {"model.safetensors": save(tensors), "config.json": json.dumps(config).encode(), "vocab.txt": b"a b c"}


@pytest.fixture
def door(standing_door: FrontDoor) -> FrontDoor:
    return standing_door


@pytest.fixture
def client(standing: Client) -> Client:
    return standing


@pytest.fixture
def versions(client: Client, tree: Tree) -> Client:
    """A client of a zoo with two versions of `team/m`."""
    with suppress(NotFound):
        client.version("team/m@2")
        return client
    client.push(tree(model(TENSORS), "one"), "team/m")
    after = {**TENSORS, "big": BIG * 2, "norm.b": BIG[1] * 1.5, "new": BIG[3, :8], "norm.a": BIG[0]}
    del after["old"]
    config = {**CONFIG, "layers": 3, "rope": {"factor": 1.0}, "extra": True}
    client.push(tree(model(after, config), "two"), "team/m")
    return client


def test_settings_tensors_and_files_that_changed_are_told(versions: Client):
    diff = versions.diff("team/m@1", "team/m@2")
    assert not diff.is_same
    assert diff.config == (
        ConfigChange("extra", "added", None, True),
        ConfigChange("layers", "changed", 2, 3),
        ConfigChange("rope.kind", "removed", "linear", None),
    )
    assert [(change.path, change.kind) for change in diff.files] == [
        ("config.json", "changed"),
        ("model.safetensors", "changed"),
    ]
    assert [(change.name, change.kind) for change in diff.tensors] == [
        ("big", "changed"),
        ("new", "added"),
        ("norm.b", "changed"),
        ("old", "removed"),
    ]
    assert diff.tensors_same == 2


def test_the_norm_of_a_change_is_relative_to_what_was(versions: Client):
    norms = {change.name: change.norm for change in versions.diff("team/m@1", "team/m@2", norms=True).tensors}
    assert norms["big"] == pytest.approx(1.0)
    assert norms["norm.b"] == pytest.approx(0.5)
    assert norms["new"] is None


def test_without_norms_no_large_tensor_is_read(versions: Client, door: FrontDoor):
    diff = versions.diff("team/m@1", "team/m@2", norms=False)
    assert [change.name for change in diff.tensors] == ["big", "new", "norm.b", "old"]
    assert {change.norm for change in diff.tensors} == {None}
    # The small tensors of both sides that share a blob with one that changed, and config.json.
    assert diff.bytes_received <= door.bytes_down < 6 * 4096 + SLACK


def test_norms_that_nobody_asked_for_stop_at_a_limit(versions: Client, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("modelzoo.version_diff.NORMS_BYTES_MAX", NORMS_BYTES_MAX // 256)
    diff = versions.diff("team/m@1", "team/m@2")
    assert {change.name: change.norm is None for change in diff.tensors}["big"]
    assert diff.norms_left_out == 1


def test_equal_versions_are_the_same_and_nothing_is_read(versions: Client, door: FrontDoor):
    versions.tensor_infos("team/m@2")
    diff = versions.diff("team/m@2", "team/m")
    assert diff.is_same
    assert (diff.tensors_same, diff.tensors) == (5, ())
    assert door.bytes_down < SLACK


def test_a_resharded_copy_has_the_same_tensors_in_other_files(versions: Client, tree: Tree):
    names = sorted(TENSORS)
    shards = {f"model-{n}.safetensors": save({name: TENSORS[name]}) for n, name in enumerate(names)}
    versions.push(tree(shards, "shards"), "team/shards")
    diff = versions.diff("team/m@1", "team/shards", norms=False)
    assert (diff.tensors, diff.tensors_same) == ((), 5)
    assert {change.kind for change in diff.files} == {"added", "removed"}


def test_a_directory_is_compared_as_it_would_be_pushed(versions: Client, tree: Tree):
    assert versions.diff(tree(model(TENSORS), "mine"), "team/m@1").is_same
    mine = tree(model({**TENSORS, "kept": BIG}), "other")
    diff = versions.diff("team/m@1", str(mine))
    assert [change.name for change in diff.tensors] == ["kept"]
    with pytest.raises(InvalidArgument, match="does not exist"):
        versions.diff("team/m@1", "./nowhere")


def test_another_dtype_or_shape_is_a_change_without_a_norm(client: Client, tree: Tree):
    before, after = {"w": BIG[:2], "x": BIG[:2]}, {"w": BIG[:2].astype("f2"), "x": BIG[:3]}
    diff = client.diff(tree(model(before), "a"), tree(model(after), "b"), norms=True)
    told = [(c.before.dtype, c.before.shape, c.after.dtype, c.after.shape, c.norm) for c in diff.tensors]
    assert told == [("F32", (2, 1024), "F16", (2, 1024), None), ("F32", (2, 1024), "F32", (3, 1024), None)]


def test_a_change_from_zeros_and_one_to_no_number_have_no_norm(client: Client, tree: Tree):
    before, after = {"w": BIG[:1] * 0, "x": BIG[:1]}, {"w": BIG[:1], "x": BIG[:1] * numpy.nan}
    diff = client.diff(tree(model(before), "a"), tree(model(after), "b"), norms=True)
    assert [(change.name, change.norm) for change in diff.tensors] == [("w", None), ("x", None)]


def test_progress_ends_at_its_total(versions: Client, tree: Tree):
    class Bar:
        total = done = 0

        def start(self, total_bytes: int) -> None:
            self.total = total_bytes

        def skip(self, count_bytes: int) -> None:
            self.done += count_bytes

        advance = skip

    bar = Bar()
    versions.diff(tree(model({**TENSORS, "kept": BIG}), "mine"), "team/m@2", progress=bar)
    assert bar.done == bar.total > 4 * MIB


def test_the_command_shows_changes_and_exits_as_asked(versions: Client, zoo: Zoo):
    shown = zoo("diff", "team/m@1", "team/m@2")
    assert shown.exit_code == 0
    for line in (
        "~  layers",
        "+  extra",
        "-  rope.kind",
        "~  model.safetensors",
        "F32 [512, 1024]",
        "4 tensors differ",
    ):
        assert line in shown.stdout, line
    assert zoo("diff", "team/m@1", "team/m@2", "--exit-code").exit_code == 1
    assert zoo("diff", "team/m@2", "team/m@2", "--exit-code").exit_code == 0
    told = json.loads(zoo("diff", "team/m@1", "team/m@2", "--json").stdout)
    assert (told["tensors_same"], len(told["tensors"]), told["a"]["name"]) == (2, 4, "team/m@1")


def test_diff_says_which_versions_an_alias_and_a_bare_name_mean(versions: Client, zoo: Zoo):
    versions.set_alias("team/m", "prod", 1)
    shown = zoo("diff", "team/m@prod", "team/m", "--no-norms").stdout
    assert "a: team/m@1 (team/m@prod)" in shown
    assert "b: team/m@2 (team/m)" in shown


def test_show_tensors_lists_those_that_match(versions: Client, zoo: Zoo):
    lines = zoo("show", "team/m@1", "--tensors", "norm.*").stdout.splitlines()
    assert [line.split()[0] for line in lines[:3]] == ["TENSOR", "norm.a", "norm.b"]
    assert lines[1].split()[1:4] == ["F32", "[1024]", "4096"]
    told = json.loads(zoo("show", "team/m@1", "--tensors", "--json").stdout)["tensors"]
    assert [info["name"] for info in told] == sorted(TENSORS)
    assert zoo("show", "team/m@1", "--tensors", "nothing*").exit_code == 3
    assert zoo("show", "team/m@1", "norm.*").exit_code == 2


def test_metrics_that_differ_are_told(versions: Client):
    versions.manage.set_metrics("team/m@1", "glue", {"accuracy": 0.5, "loss": 1.0})
    versions.manage.set_metrics("team/m@2", "glue", {"accuracy": 0.75, "loss": 1.0}, split="test")
    versions.manage.set_metrics("team/m@2", "glue", {"accuracy": 0.75})
    diff = versions.diff("team/m@1", "team/m@2")
    assert [(change.split, change.name, change.before, change.after) for change in diff.metrics] == [
        ("", "accuracy", 0.5, 0.75),
        ("", "loss", 1.0, None),
        ("test", "accuracy", None, 0.75),
        ("test", "loss", None, 1.0),
    ]
