"""Jobs through the client: created once, watched over broken connections, their results and why there is none."""

import itertools
import threading
from collections.abc import Iterator

import pytest

from modelzoo.client import Client
from modelzoo.errors import (
    Aborted,
    FailedPrecondition,
    Internal,
    InvalidArgument,
    NotFound,
    OutOfRange,
    Unavailable,
    ZooError,
)
from modelzoo.training_records import Budget, Choices, JobSpec, Promotion
from support.toy_jobs import ToyTraining, serving

SPEC = JobSpec("team/base@1", "team/words@1", "team/new", "text-classification")


@pytest.fixture
def training() -> ToyTraining:
    return ToyTraining()


@pytest.fixture
def client(training: ToyTraining) -> Iterator[Client]:
    with serving(training) as address, Client(address, "key") as client:
        yield client


@pytest.fixture
def job(client: Client) -> str:
    return client.jobs.create(SPEC).name


def test_a_job_comes_back_with_all_that_was_asked_for(client: Client):
    spec = JobSpec(
        "team/base@1",
        "team/words@1",
        "team/new",
        "text-classification",
        {"learning_rate": 1e-4, "batch_size": 8, "schedule": "cosine", "freeze": True},
        resource_class="gpu",
        budget=Budget(steps=5, epochs=1.5, wall_time_s=90.5, patience=2),
        max_attempts=4,
        promotion=Promotion("prod", "ALWAYS"),
        seed=7,
    )
    made = client.jobs.create(spec, priority=-3, labels={"why": "test"})
    assert (made.state, made.wanted, made.priority, made.labels) == ("QUEUED", "RUN", -3, {"why": "test"})
    assert made.spec.parameters == {**spec.parameters, "epochs": 3}
    assert isinstance(made.spec.parameters["batch_size"], int)
    assert (made.spec.budget, made.spec.promotion, made.spec.seed) == (spec.budget, spec.promotion, 7)
    assert client.jobs.get(made.name) == made


def test_the_same_request_makes_one_job_and_checking_makes_none(client: Client, training: ToyTraining):
    first = client.jobs.create(SPEC, request_id="one")
    assert client.jobs.create(SPEC, request_id="one") == first
    assert client.jobs.check(SPEC).name == ""
    assert list(training.jobs) == [first.name]
    assert client.jobs.create(SPEC).name != first.name


def test_jobs_are_listed_page_by_page_newest_first(client: Client, training: ToyTraining):
    names = [client.jobs.create(SPEC).name for _ in range(5)]
    training.state(names[1], "CANCELLED")
    assert [job.name for job in client.jobs.list()] == names[::-1]
    assert [job.name for job in client.jobs.list("team", filter="state = CANCELLED")] == [names[1]]
    assert list(client.jobs.list("other")) == []
    with pytest.raises(InvalidArgument):
        next(client.jobs.list(filter="?"))


def test_priority_and_labels_change_unless_somebody_else_was_faster(client: Client, job: str):
    etag = client.jobs.get(job).etag
    assert client.jobs.update(job, priority=4).priority == 4
    assert client.jobs.update(job, labels={"a": "b"}).labels == {"a": "b"}
    with pytest.raises(Aborted):
        client.jobs.update(job, priority=1, etag=etag)
    with pytest.raises(InvalidArgument):
        client.jobs.update(job)


def test_a_job_is_paused_resumed_and_cancelled_and_then_final(client: Client, job: str, training: ToyTraining):
    assert client.jobs.pause(job).state == "PAUSED"
    assert client.jobs.resume(job).state == "QUEUED"
    training.state(job, "RUNNING")
    assert (client.jobs.cancel(job).state, client.jobs.get(job).wanted) == ("RUNNING", "CANCEL")
    training.state(job, "CANCELLED")
    assert client.jobs.cancel(job).is_final
    with pytest.raises(FailedPrecondition, match="already"):
        client.jobs.resume(job)
    with pytest.raises(NotFound):
        client.jobs.get("job_x")


def run(training: ToyTraining, job: str) -> None:
    training.state(job, "RUNNING", actor="w1")
    training.log(job, "halved the batch", "WARNING")
    for step in range(1, 6):
        training.step(job, step, 5, 1 / step, eval_accuracy=0.5)
    training.checkpoint(job, 5)
    training.succeed(job, "team/new@1")


@pytest.mark.parametrize("break_after", [0, 1, 3])
def test_a_watch_that_breaks_again_and_again_gives_each_event_once(
    client: Client, job: str, training: ToyTraining, break_after: int
):
    run(training, job)
    training.breaks, training.break_after, training.repeat_events = 3, break_after, True
    events = list(client.jobs.watch(job))
    assert [event.sequence for event in events] == list(range(1, 11))
    assert training.breaks == 0
    assert [event.state.state for event in events if event.state] == ["QUEUED", "RUNNING", "SUCCEEDED"]
    assert [event.log.severity for event in events if event.log] == ["WARNING"]
    assert [event.metrics.progress.loss for event in events if event.metrics] == [1 / n for n in range(1, 6)]
    assert [event.checkpoint.step for event in events if event.checkpoint] == [5]


def test_a_watch_goes_on_from_the_cursor_of_another_and_what_ended_is_over(
    client: Client, job: str, training: ToyTraining
):
    run(training, job)
    first = client.jobs.watch(job)
    assert [next(first).sequence for _ in range(4)] == [1, 2, 3, 4]
    first.close()
    assert list(first) == []
    assert [event.sequence for event in client.jobs.watch(job, first.cursor)] == [5, 6, 7, 8, 9, 10]
    assert list(client.jobs.watch(job, 10)) == []
    with pytest.raises(OutOfRange):
        next(client.jobs.watch(job, 11))


def test_a_watch_follows_through_expiry_until_the_end(client: Client, job: str, training: ToyTraining):
    training.breaks, training.break_after = 10, 1
    training.break_with = Unavailable("WATCH_EXPIRED", "Watch again from the cursor.")
    stream = client.jobs.watch(job)
    assert next(stream).state is not None
    threading.Timer(0.1, run, (training, job)).start()
    assert [event.sequence for event in stream] == list(range(2, 11))


def test_without_following_a_watch_ends_with_the_last_event_of_now(client: Client, job: str, training: ToyTraining):
    training.state(job, "RUNNING")
    assert [event.sequence for event in client.jobs.watch(job, follow=False)] == [1, 2]


def test_a_watch_that_a_proxy_ends_too_early_goes_on(client: Client, job: str, training: ToyTraining):
    training.state(job, "RUNNING")
    whole = training._stream
    ended: list[int] = []

    def cut(request, context):
        if not ended:
            ended.append(1)
            yield from itertools.islice(whole(request, context), 2)
            threading.Timer(0.1, training.succeed, (job, "team/new@1")).start()
        else:
            yield from whole(request, context)

    training._stream = cut
    assert [event.sequence for event in client.jobs.watch(job)] == [1, 2, 3]


def test_what_is_no_connection_that_broke_is_raised(client: Client, job: str, training: ToyTraining):
    training.breaks, training.break_after = 1, 0
    training.break_with = Internal("INTERNAL", "internal error")
    with pytest.raises(ZooError) as caught:
        list(client.jobs.watch(job))
    assert caught.value.reason == "INTERNAL"


def test_recipes_are_described_with_typed_defaults(client: Client):
    assert [recipe.name for recipe in client.jobs.recipes()] == ["sentence-embedding", "text-classification"]
    (recipe,) = client.jobs.recipes("fill-mask")
    by_name = {parameter.name: parameter for parameter in recipe.parameters}
    assert (by_name["batch_size"].default, type(by_name["batch_size"].default)) == (16, int)
    assert (by_name["epochs"].default, type(by_name["epochs"].default)) == (3.0, float)
    assert (by_name["freeze"].default, by_name["learning_rate"].minimum_excluded) == (None, True)


def test_a_sweep_makes_its_jobs_and_knows_the_best(client: Client, training: ToyTraining):
    scores = iter((0.5, 0.7, 0.6))
    training.script = lambda toy, name: toy.succeed(name, "team/new@1", after=next(scores))
    sweep = client.jobs.create_sweep(SPEC, {"learning_rate": Choices((1e-5, 3e-5, 1e-4))})
    assert (len(sweep.jobs), sweep.method, sweep.choices["learning_rate"].values) == (3, "GRID", (1e-5, 3e-5, 1e-4))
    done = client.jobs.sweep(sweep.name)
    assert (done.best, done.finished, done.end_time is not None) == (sweep.jobs[1], 3, True)
    assert client.jobs.get(sweep.jobs[2]).spec.parameters["learning_rate"] == 1e-4
    with pytest.raises(NotFound):
        client.jobs.sweep("sweep_x")


def test_a_failed_and_a_cancelled_job_have_no_result_but_a_reason(client: Client, training: ToyTraining):
    failed, cancelled = (client.jobs.open(client.jobs.create(SPEC).name) for _ in range(2))
    message = "The loss was not finite at step 3."
    training.state(failed.name, "FAILED", reason="LOSS_NOT_FINITE", message=message)
    with pytest.raises(FailedPrecondition, match="step 3") as caught:
        failed.result()
    assert (caught.value.reason, caught.value.metadata["job"]) == ("LOSS_NOT_FINITE", failed.name)
    threading.Timer(0.1, cancelled.cancel).start()
    with pytest.raises(FailedPrecondition, match="was cancelled"):
        cancelled.result()
