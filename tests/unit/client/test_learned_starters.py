"""Starters that jobs train: from which base and dataset, once, and again where that was in vain."""

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import grpc
import pytest

from modelzoo.client import Client
from modelzoo.errors import FailedPrecondition
from modelzoo.training_job import TrainingJob
from support.published import model_of
from support.toy_jobs import ToyTraining
from zoo_starters.learned import Learned
from zoo_starters.publish import publish
from zoo_starters.starter import Starter

Publish = Callable[..., str]


def make_base(packages: Path, folder: Path) -> None:
    for name, content in model_of("fill-mask").items():
        (folder / name).write_bytes(content)


def make_dataset(packages: Path, folder: Path) -> None:
    for split in ("train", "test"):
        rows = [json.dumps({"text": f"{split} {n}", "label": "xy"[n % 2]}) + "\n" for n in range(10)]
        (folder / f"{split}.jsonl").write_text("".join(rows))


def ground(name: str, make: Callable[[Path, Path], None], format: str | None = None) -> Starter:
    return Starter(name, "fill-mask", "made here", (), 1, make, format)


LEARNED = Learned(
    base=ground("team/untrained", make_base),
    dataset=ground("team/words", make_dataset, "dataset"),
    few=lambda packages, folder, held_out: make_dataset(packages, folder),
    recipe="text-classification",
    parameters={"learning_rate": 1e-3},
    steps=30,
    seed=9,
    description="Knows x from y.",
)
STARTER = Starter("team/tiny", "text-classification", "made here", (), 1, LEARNED)


@pytest.fixture
def handlers(training: ToyTraining) -> Sequence[grpc.GenericRpcHandler]:
    return training.handlers()


@pytest.fixture
def published(client: Client, training: ToyTraining, tmp_path: Path) -> Publish:
    """Publishes it where jobs succeed at once, and what they made is there."""

    made: list[str] = []

    def succeed(toy: ToyTraining, name: str) -> None:
        made.append(name)
        toy.succeed(name, f"team/tiny@{len(made)}")

    def push(job: TrainingJob) -> None:
        files = tmp_path / job.name
        files.mkdir()
        (files / "weights.bin").write_text(job.name)
        client.push(files, "team/tiny")

    training.script = succeed

    def run(starter: Starter = STARTER, follow: Callable[[TrainingJob], object] = push) -> str:
        return publish(client, starter, tmp_path / "work", lambda text: None, follow=follow)

    return run


def test_a_job_of_the_recipe_trains_it_from_a_base_and_a_dataset_that_are_published_before(
    published: Publish, client: Client, training: ToyTraining
):
    assert published() == "team/tiny@1"
    job = client.jobs.get(training.only())
    assert (job.spec.base, job.spec.dataset, job.spec.output) == ("team/untrained@1", "team/words@1", "team/tiny")
    assert (job.spec.recipe, job.spec.parameters["learning_rate"]) == ("text-classification", 1e-3)
    assert (job.spec.budget.steps, job.spec.seed) == (30, 9)
    assert client.version("team/words").facts.dataset is not None
    assert client.model("team/tiny").description == "Knows x from y."


def test_it_is_trained_once_in_each_form(published: Publish, training: ToyTraining):
    assert [published(), published()] == ["team/tiny@1", "team/tiny@1"]
    assert len(training.jobs) == 1
    assert published(replace(STARTER, recipe=2)) == "team/tiny@2"
    assert published(replace(STARTER, recipe=2)) == "team/tiny@2"
    assert len(training.jobs) == 2


def test_it_is_trained_again_where_its_version_was_deleted(published: Publish, client: Client, training: ToyTraining):
    published()
    client.manage.delete_version("team/tiny@1")
    assert published() == "team/tiny@2"
    assert len(training.jobs) == 2


def test_a_job_that_failed_says_why_and_the_next_time_there_is_another(published: Publish, training: ToyTraining):
    succeed = training.script
    training.script = lambda toy, name: toy.state(name, "FAILED", reason="LOSS_NOT_FINITE", message="At step 3.")
    with pytest.raises(FailedPrecondition, match="At step 3") as caught:
        published(follow=lambda job: None)
    assert caught.value.reason == "LOSS_NOT_FINITE"
    training.script = succeed
    assert published() == "team/tiny@1"
    assert len(training.jobs) == 2


def test_who_comes_back_to_a_job_that_runs_follows_it(published: Publish, training: ToyTraining):
    training.script = lambda toy, name: toy.state(name, "RUNNING")
    with pytest.raises(KeyboardInterrupt):
        published(follow=interrupt)
    seen: list[str] = []
    with pytest.raises(KeyboardInterrupt):
        published(follow=lambda job: (seen.append(job.name), interrupt(job)))
    assert seen == list(training.jobs)


def interrupt(job: TrainingJob) -> None:
    raise KeyboardInterrupt
