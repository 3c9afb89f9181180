"""From data on this machine to a job: what is checked, what is published, what is refused before anything is sent."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path

import grpc
import pytest
from PIL import Image

from modelzoo.client import Client
from modelzoo.errors import FailedPrecondition, InvalidArgument, NotFound
from modelzoo.finetuning import prepare
from modelzoo.training_records import Budget, JobSpec
from support.published import CHAT
from support.toy_jobs import ToyTraining
from support.weights import weights
from zoo.training.v1 import recipe_pb2

Tree = Callable[..., Path]

ROWS = "".join(json.dumps({"text": f"a text {n}", "label": "xy"[n % 2]}) + "\n" for n in range(40))


@pytest.fixture
def handlers(training: ToyTraining) -> Sequence[grpc.GenericRpcHandler]:
    return training.handlers()


@pytest.fixture
def base(client: Client, tree: Tree, training: ToyTraining) -> str:
    """A base from which every recipe of the toy starts."""
    reference = client.push(tree(CHAT, "base"), "team/base").reference
    task = client.version(reference).facts.task
    for recipe in training.recipes:
        if task not in recipe.base_tasks:
            recipe.base_tasks.append(task)
    return reference


def test_a_file_becomes_a_dataset_a_job_and_a_version(client: Client, base: str, training: ToyTraining, tmp_path: Path):
    data = tmp_path / "test.jsonl"
    data.write_text(ROWS)
    training.script = lambda toy, name: toy.succeed(name, "team/new@1")
    job = client.finetune("team/base", data, to="team/new", learning_rate=1e-4)
    assert [event.state.state for event in job] == ["QUEUED", "SUCCEEDED"]
    spec = job.record.spec
    assert (spec.base, spec.dataset, spec.recipe) == (base, "team/new-data@1", "text-classification")
    assert (spec.parameters["learning_rate"], client.version(spec.dataset).facts.dataset.splits[0].name) == (
        1e-4,
        "train",
    )
    client.push(tmp_path / "base", "team/new")
    assert job.result().reference == "team/new@1"


def test_an_earlier_job_tells_the_time_of_a_step_and_of_all_else(
    client: Client, base: str, training: ToyTraining, tmp_path: Path
):
    def run(toy: ToyTraining, name: str) -> None:
        steps, seconds = runs.pop()
        toy.state(name, "RUNNING")
        toy.step(name, steps, steps, 0.5)
        toy.succeed(name, "team/new@1", wall_seconds=seconds)
        toy.jobs[name].end_time.seconds = toy.jobs[name].start_time.seconds + 30
        toy.jobs[name].end_time.nanos = toy.jobs[name].start_time.nanos

    data, runs, training.script = tmp_path / "data.jsonl", [(2, 9.0), (40, 10.0), (3, 3.0)], run
    data.write_text(ROWS)
    for _ in range(3):
        client.finetune(base, data, to="team/new")
    plan = prepare(client, JobSpec(base, "", "team/new", budget=Budget(steps=100, epochs=50)), data)
    assert plan.seconds == pytest.approx(20 + 100 * 10 / 40)


def test_the_same_data_are_one_version_whenever_they_were_published(client: Client, base: str, tmp_path: Path):
    data = tmp_path / "data.jsonl"
    published: list[str] = []
    for content in (ROWS, ROWS * 2, ROWS):
        data.write_text(content)
        published.append(client.finetune(base, str(data), to="team/new").record.spec.dataset)
    assert published == ["team/new-data@1", "team/new-data@2", "team/new-data@1"]
    assert client.finetune(base, "team/new-data@2", to="team/other").record.spec.dataset == "team/new-data@2"


REFUSED = (
    ({"learning_rat": 1e-4}, "PARAMETER_UNKNOWN", "learning_rate"),
    ({"learning_rate": 1e9}, "PARAMETER_INVALID", "at most 1"),
    ({"learning_rate": 0.0}, "PARAMETER_INVALID", "more than 0"),
    ({"learning_rate": float("nan")}, "PARAMETER_INVALID", "finite"),
    ({"learning_rate": "high"}, "PARAMETER_INVALID", "finite number"),
    ({"batch_size": 2.5}, "PARAMETER_INVALID", "whole number"),
    ({"batch_size": True}, "PARAMETER_INVALID", "whole number"),
    ({"schedule": "round"}, "PARAMETER_INVALID", "linear, cosine"),
    ({"freeze": 1}, "PARAMETER_INVALID", "true or false"),
    ({"recipe": "text-clasification"}, "RECIPE_UNKNOWN", "text-classification"),
    ({"recipe": "sentence-embedding"}, "COLUMN_MISSING", "`positive`"),
    ({"to": "team/new@1"}, "REFERENCE_INVALID", "team/new"),
    ({"budget": Budget(epochs=float("inf"))}, "FIELD_INVALID", "epochs"),
)


def test_an_adapter_is_no_base(client: Client, base: str, tree: Tree, tmp_path: Path):
    (tmp_path / "data.jsonl").write_text(ROWS)
    files = {"adapter_config.json": b'{"peft_type": "LORA"}', "adapter_model.safetensors": weights(1)}
    client.push(tree(files, "lora"), "team/lora", format="adapter")
    with pytest.raises(FailedPrecondition, match="zoo merge team/lora@1 --to") as caught:
        prepare(client, JobSpec("team/lora", "", "team/new"), tmp_path / "data.jsonl")
    assert caught.value.reason == "BASE_UNSUITABLE"


def test_what_makes_no_sense_is_refused_before_anything_is_sent(client: Client, base: str, tmp_path: Path):
    data = tmp_path / "data.jsonl"
    data.write_text(ROWS)
    for wrong, reason, says in REFUSED:
        with pytest.raises(InvalidArgument) as caught:
            client.finetune(base, data, **({"to": "team/new"} | wrong))
        assert (caught.value.reason, says in caught.value.message) == (reason, True), caught.value.message
    with pytest.raises(NotFound):
        client.model("team/new-data")


def test_a_value_that_is_missing_where_the_recipe_needs_one_is_told_by_its_line(
    client: Client, base: str, tmp_path: Path
):
    data = tmp_path / "data.jsonl"
    data.write_text(ROWS + '{"text": "no label"}\n')
    with pytest.raises(InvalidArgument, match="line 41: it has no `label`"):
        client.finetune(base, data, to="team/new")


def test_of_pictures_without_labels_it_is_said_where_labels_come_from(
    client: Client, base: str, training: ToyTraining, tmp_path: Path
):
    task = client.version(base).facts.task
    training.recipes.append(recipe_pb2.Recipe(name="pictures", base_tasks=[task], columns=["image", "label"]))
    pictures = tmp_path / "pictures"
    pictures.mkdir()
    for width in (1, 2):
        Image.new("RGB", (width, 2)).save(pictures / f"{width}.png")
    with pytest.raises(InvalidArgument, match="the folder that it lies in") as caught:
        client.finetune(base, pictures, to="team/new")
    assert caught.value.reason == "COLUMN_MISSING"


def test_to_rows_without_sounds_no_other_name_of_a_column_is_advised(
    client: Client, base: str, training: ToyTraining, tmp_path: Path
):
    wanted = recipe_pb2.Recipe(name="speech", columns=["audio|path|file", "text"], resource_classes=["cpu"])
    training.recipes.append(wanted)
    (tmp_path / "data.jsonl").write_text(ROWS)
    with pytest.raises(InvalidArgument, match="put the sounds, as files, beside the rows"):
        prepare(client, JobSpec(base, "", "team/new", "speech"), tmp_path / "data.jsonl")


def test_a_folder_with_a_link_that_leaves_it_is_refused(client: Client, base: str, tree: Tree, tmp_path: Path):
    folder = tree({"train.jsonl": ROWS.encode()}, "data")
    (folder / "test.jsonl").symlink_to("/etc/hostname")
    with pytest.raises(InvalidArgument, match="leaves the directory"):
        client.finetune(base, folder, to="team/new")
    with pytest.raises(InvalidArgument, match="no such file"):
        client.finetune(base, tmp_path / "none.csv", to="team/new")
    with pytest.raises(FailedPrecondition, match="is no dataset"):
        client.finetune(base, base, to="team/new")


def test_a_recipe_is_chosen_by_task_and_columns_or_asked_for(
    client: Client, base: str, training: ToyTraining, tmp_path: Path
):
    data = tmp_path / "data.jsonl"
    data.write_text(ROWS)
    other = training.recipes[1]
    del other.columns[:]
    other.resource_classes.append("cpu")
    with pytest.raises(InvalidArgument, match="Several recipes fit"):
        client.finetune(base, data, to="team/new")
    other.task = client.version(base).facts.task
    other.resource_classes.append("cpu")
    assert client.finetune(base, data, to="team/new").record.spec.recipe == "sentence-embedding"
    for recipe in training.recipes:
        recipe.base_tasks[:] = ["object-detection"]
    with pytest.raises(FailedPrecondition, match="start from models of object-detection"):
        client.finetune(base, data, to="team/new")
    training.recipes.clear()
    with pytest.raises(InvalidArgument, match="No recipe is known"):
        client.finetune(base, data, to="team/new")


@pytest.mark.parametrize(("budget", "steps"), [(Budget(), 9), (Budget(steps=12), 12), (Budget(steps=12, epochs=1), 3)])
def test_the_cost_is_what_the_trainer_will_do(client: Client, base: str, tmp_path: Path, budget: Budget, steps: int):
    data = tmp_path / "rows.jsonl"
    data.write_text(ROWS)
    assert prepare(client, JobSpec(base, "", "team/new", budget=budget), data).steps == steps


def test_a_recipe_of_another_resource_class_is_not_chosen_unasked(
    client: Client, base: str, training: ToyTraining, tmp_path: Path
):
    data = tmp_path / "rows.jsonl"
    data.write_text(ROWS)
    mine = training.recipes[0]
    mine.resource_classes[:] = ["cpu"]
    other = type(mine).FromString(mine.SerializeToString())
    other.name, other.resource_classes[:] = "other", ["gpu"]
    training.recipes.append(other)
    assert prepare(client, JobSpec(base, "", "team/new"), data).recipe.name == mine.name
    elsewhere = JobSpec(base, "", "team/new", resource_class="gpu")
    assert prepare(client, elsewhere, data).recipe.name == "other"
