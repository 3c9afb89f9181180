"""The training service as its callers and trainers see it, beside real artifact and catalog services."""

from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from modelzoo.errors import (
    Aborted,
    AlreadyExists,
    FailedPrecondition,
    InvalidArgument,
    NotFound,
    PermissionDenied,
    ResourceExhausted,
    ZooError,
)
from support.catalog_service import refused
from support.training_service import ANN, TrainingService, running_training, spec
from support.training_zoo import ADMIN, BASE, CLASSIFICATION, DATA, TrainingZoo
from zoo.catalog.v1 import catalog_service_pb2 as catalog_pb
from zoo.catalog.v1 import change_pb2
from zoo.catalog.v1 import change_service_pb2 as change_pb
from zoo.training.v1 import event_pb2, job_pb2, sweep_pb2
from zoo.training.v1 import trainer_service_pb2 as trainer_pb
from zoo.training.v1 import training_service_pb2 as pb
from zoo_server.principal import Principal, Role
from zoo_training.policy import Policy

pytestmark = pytest.mark.asyncio(loop_scope="module")
STRANGER = Principal("user:sam", {"elsewhere": Role.ADMIN})
VIEWER = Principal("user:vera", {"team": Role.VIEWER})


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def service(zoo: TrainingZoo) -> AsyncIterator[TrainingService]:
    async with running_training(zoo) as running:
        yield running


@pytest_asyncio.fixture(loop_scope="module", autouse=True)
async def nothing_waits(service: TrainingService) -> AsyncIterator[None]:
    """What a test leaves in the queue is not another's."""
    await service.trainer()
    yield
    left = await service.ann.ListJobs(pb.ListJobsRequest(filter="state = QUEUED", page_size=1000))
    for job in left.jobs:
        await service.ann.CancelJob(pb.CancelJobRequest(name=job.name))


async def test_a_job_is_queued_complete_with_its_sources_pinned(service: TrainingService) -> None:
    job = await service.create()
    assert job.name.startswith("job_")
    assert job.state == job_pb2.JOB_STATE_QUEUED
    assert (job.spec.base, job.spec.dataset, job.creator) == (f"{BASE}@1", f"{DATA}@1", ANN.subject)
    assert job.spec.parameters["batch_size"] == 16
    holders = {holder for _, _, holder in service.zoo.pins()}
    assert {f"training:{job.name}/base", f"training:{job.name}/dataset"} <= holders
    assert await service.get(job.name) == job


async def test_a_retry_finds_the_job_of_its_first_try(service: TrainingService) -> None:
    first = await service.create(request_id="once")
    assert await service.create(request_id="once") == first
    with refused(AlreadyExists, "REQUEST_ID_REUSED"):
        await service.create(spec(seed=7), request_id="once")


async def test_validate_only_answers_the_whole_job_and_makes_none(service: TrainingService) -> None:
    before, pins = await listed(service), service.zoo.pins()
    job = await service.create(validate_only=True)
    assert (job.name, job.spec.recipe, job.spec.seed) == ("", CLASSIFICATION.name, 42)
    assert job.spec.parameters["learning_rate"] == pytest.approx(5e-5)
    with refused(NotFound, "MODEL_NOT_FOUND"):
        await service.create(job_pb2.JobSpec(base="zoo/none", dataset=DATA, output="team/a"), validate_only=True)
    assert (await listed(service), service.zoo.pins()) == (before, pins)


async def test_before_its_data_are_published_all_else_of_a_job_is_validated(service: TrainingService) -> None:
    unpublished = spec(dataset="", recipe=CLASSIFICATION.name)
    job = await service.create(unpublished, validate_only=True)
    assert (job.name, job.spec.dataset, job.spec.base, job.spec.resource_class) == ("", "", f"{BASE}@1", "cpu")
    unpublished.output = "nowhere/a"
    with refused(NotFound, "NAMESPACE_NOT_FOUND"):
        await service.create(unpublished, validate_only=True)
    with refused(InvalidArgument, "RECIPE_UNKNOWN"):
        await service.create(spec(dataset="", recipe=""), validate_only=True)
    with refused(InvalidArgument, "REFERENCE_INVALID"):
        await service.create(spec(dataset="", recipe=CLASSIFICATION.name))


async def listed(service: TrainingService) -> int:
    return len((await service.ann.ListJobs(pb.ListJobsRequest(page_size=1000))).jobs)


def parameters(**values: Any) -> dict[str, Any]:
    made = job_pb2.JobSpec()
    made.parameters.update(values)
    return {"parameters": made.parameters}


@pytest.mark.parametrize(
    ("wanted", "kind", "reason"),
    [
        (spec(**parameters(lerning_rate=1)), InvalidArgument, "PARAMETER_UNKNOWN"),
        (spec(**parameters(learning_rate=float("nan"))), InvalidArgument, "PARAMETER_INVALID"),
        (spec(**parameters(learning_rate="1e-3")), InvalidArgument, "PARAMETER_INVALID"),
        (spec(budget=job_pb2.Budget(epochs=float("nan"))), InvalidArgument, "FIELD_INVALID"),
        (spec(budget=job_pb2.Budget(steps=-1)), InvalidArgument, "FIELD_INVALID"),
        (spec(promotion=job_pb2.Promotion(alias="prod", rule=9)), InvalidArgument, "FIELD_INVALID"),
        (spec(resource_class="h100"), FailedPrecondition, "TRAINER_MISSING"),
        (spec("nowhere/a"), NotFound, "NAMESPACE_NOT_FOUND"),
        (spec("zoo/a"), PermissionDenied, "ROLE_MISSING"),
        (job_pb2.JobSpec(base=DATA, dataset=DATA, output="team/a"), FailedPrecondition, "KIND_MISMATCH"),
        (job_pb2.JobSpec(dataset=DATA, output="team/a"), InvalidArgument, "FIELD_INVALID"),
    ],
)
async def test_what_cannot_be_done_is_refused_before_anything_is_stored(
    service: TrainingService, wanted: job_pb2.JobSpec, kind: type[ZooError], reason: str
) -> None:
    before, pins = await listed(service), service.zoo.pins()
    with refused(kind, reason):
        await service.create(wanted)
    assert (await listed(service), service.zoo.pins()) == (before, pins)


async def test_a_new_try_is_of_a_job_that_is_over(service: TrainingService) -> None:
    job = await service.create()
    for name, kind, reason in (
        (job.name, InvalidArgument, "FIELD_INVALID"),
        ("job_none", NotFound, "JOB_NOT_FOUND"),
    ):
        with refused(kind, reason):
            await service.ann.CreateJob(pb.CreateJobRequest(job=job_pb2.Job(spec=spec(), retry_of=name)))
    await service.ann.CancelJob(pb.CancelJobRequest(name=job.name))
    again = await service.ann.CreateJob(pb.CreateJobRequest(job=job_pb2.Job(spec=spec(), retry_of=job.name)))
    assert again.job.retry_of == job.name


async def test_a_job_of_a_full_namespace_leaves_no_pins(zoo: TrainingZoo, tmp_path_factory: Any) -> None:
    url = f"sqlite:///{tmp_path_factory.mktemp('full')}/training.db"
    async with running_training(zoo, url, Policy(queued_most=1)) as full:
        await full.trainer()
        await full.create()
        with refused(ResourceExhausted, "QUOTA_EXCEEDED"):
            await full.create()
        await full.upkeep.pin_keeper.look()
        async with full.database.read() as connection:
            kept = (await connection.exec_driver_sql("SELECT count(*) FROM pins")).scalar_one()
    assert kept == 2


async def test_who_has_no_role_sees_nothing_and_viewers_decide_nothing(service: TrainingService) -> None:
    job = await service.create()
    stranger, viewer = await service.caller(STRANGER), await service.caller(VIEWER)
    with refused(NotFound, "JOB_NOT_FOUND"):
        await stranger.GetJob(pb.GetJobRequest(name=job.name))
    with refused(NotFound, "NAMESPACE_NOT_FOUND"):
        await stranger.CreateJob(pb.CreateJobRequest(job=job_pb2.Job(spec=spec())))
    assert (await viewer.GetJob(pb.GetJobRequest(name=job.name))).job == job
    for call in (
        viewer.CreateJob(pb.CreateJobRequest(job=job_pb2.Job(spec=spec()))),
        viewer.CancelJob(pb.CancelJobRequest(name=job.name)),
        viewer.PauseJob(pb.PauseJobRequest(name=job.name)),
        viewer.UpdateJob(pb.UpdateJobRequest(job=job_pb2.Job(name=job.name, priority=1))),
    ):
        with refused(PermissionDenied, "ROLE_MISSING"):
            await call


async def test_priority_and_labels_change_by_mask_and_etag(service: TrainingService) -> None:
    job = await service.create()
    change = job_pb2.Job(name=job.name, priority=3, labels={"team": "a"}, etag=job.etag)
    changed = (await service.ann.UpdateJob(pb.UpdateJobRequest(job=change))).job
    assert (changed.priority, dict(changed.labels)) == (3, {"team": "a"})
    with refused(Aborted, "ETAG_MISMATCH"):
        await service.ann.UpdateJob(pb.UpdateJobRequest(job=change))
    with refused(InvalidArgument, "FIELD_INVALID"):
        await service.ann.UpdateJob(pb.UpdateJobRequest(job=change, update_mask={"paths": ["creator"]}))


async def test_only_trainers_are_let_in_to_what_trainers_call(service: TrainingService) -> None:
    everybody = await service.trainers_of(ADMIN)
    for call in (
        everybody.RegisterTrainer(
            trainer_pb.RegisterTrainerRequest(trainer="t", resource_class="cpu", recipes=[{"name": "r"}])
        ),
        everybody.LeaseJob(trainer_pb.LeaseJobRequest(trainer="agent-1")),
        everybody.RenewJob(trainer_pb.RenewJobRequest(job="job_none", epoch=1)),
        everybody.ReleaseJob(trainer_pb.ReleaseJobRequest(job="job_none", epoch=1, outcome=trainer_pb.OUTCOME_YIELDED)),
    ):
        with refused(PermissionDenied, "ROLE_MISSING"):
            await call


async def test_a_trained_job_becomes_a_version_with_what_it_learned(service: TrainingService) -> None:
    job = await service.create(spec("team/whole", promotion=job_pb2.Promotion(alias="prod")))
    trainer = await service.trainer()
    lease = await trainer.lease()
    assert lease is not None
    assert (lease.job.name, lease.epoch, lease.base.reference) == (job.name, 1, f"{BASE}@1")
    assert await trainer.as_job(lease.principal).get(lease.dataset.manifest_digest, namespace="zoo")
    log = event_pb2.Event(log=event_pb2.Log(text="hello"))
    assert (await trainer.renew(lease, log)).wanted == job_pb2.WANTED_RUN
    await trainer.finish(lease, accuracy=0.9)
    assert (await service.get(job.name)).state == job_pb2.JOB_STATE_RUNNING
    await service.publish()
    done = await service.get(job.name)
    assert (done.state, done.result) == (job_pb2.JOB_STATE_SUCCEEDED, "team/whole@1")
    assert [measured.after for measured in done.measured] == [0.9]
    assert done.used == {"wall_seconds": 4.0}
    version = await service.zoo.catalog.version("team/whole@prod")
    assert version.metrics[f"{DATA}@1", "validation", "accuracy"] == 0.9
    assert not [pin for pin in service.zoo.pins() if job.name in pin[2]]
    events = await service.events(job.name)
    assert [event.sequence for event in events] == list(range(1, len(events) + 1))
    assert [event.state.state for event in events if event.HasField("state")][-1] == job_pb2.JOB_STATE_SUCCEEDED


async def test_the_log_says_for_whom_and_for_which_job_a_version_was_made(service: TrainingService) -> None:
    job = await service.create(spec("team/whose", promotion=job_pb2.Promotion(alias="prod")))
    trainer = await service.trainer()
    lease = await trainer.lease()
    assert lease is not None
    await trainer.finish(lease, accuracy=0.9)
    await service.publish()
    asked = change_pb.ListChangesRequest(filter=change_pb2.ChangeFilter(models=["team/whose"]))
    found = (await service.zoo.changes.ListChanges(asked)).changes
    assert {change.action for change in found} >= {"CreateModel", "CreateVersion", "SetMetrics", "SetAlias"}
    assert {(change.actor, change.on_behalf_of, change.cause) for change in found} == {
        ("service:training", job.creator, job.name)
    }
    version = (await service.zoo.admin.GetVersion(catalog_pb.GetVersionRequest(reference="team/whose"))).version
    assert (version.creator, version.on_behalf_of) == ("service:training", job.creator)


async def test_checkpoints_are_kept_while_their_job_is_not_over(service: TrainingService) -> None:
    job = await service.create(spec("team/pausing"))
    trainer = await service.trainer()
    lease = await trainer.lease()
    assert lease is not None
    digests: list[str] = []
    for step in range(1, 4):
        digests.append(await trainer.as_job(lease.principal).push({"a": f"{job.name} {step}".encode()}))
        checkpoint = job_pb2.Checkpoint(step=step, manifest_digest=digests[-1])
        await trainer.renew(lease, event_pb2.Event(checkpoint=checkpoint), first=step)
    await service.upkeep.pin_keeper.look()
    kept = {digest for _, digest, holder in service.zoo.pins() if holder == f"training:{job.name}/checkpoint"}
    assert kept == set(digests[1:])
    assert (await service.get(job.name)).checkpoint.manifest_digest == digests[-1]
    await service.ann.CancelJob(pb.CancelJobRequest(name=job.name))
    request = trainer_pb.ReleaseJobRequest(job=job.name, epoch=lease.epoch, outcome=trainer_pb.OUTCOME_STOPPED)
    await trainer.stub.ReleaseJob(request)
    await service.upkeep.pin_keeper.look()
    assert not [pin for pin in service.zoo.pins() if job.name in pin[2]]


async def test_a_result_that_cannot_be_published_fails_its_job_with_the_reason(service: TrainingService) -> None:
    zoo = service.zoo
    await zoo.model("team/doomed")
    job = await service.create(spec("team/doomed"))
    trainer = await service.trainer()
    lease = await trainer.lease()
    assert lease is not None
    await trainer.finish(lease, accuracy=0.9)
    await zoo.admin.DeleteModel(catalog_pb.DeleteModelRequest(name="team/doomed"))
    await service.publish()
    failed = await service.get(job.name)
    assert (failed.state, failed.reason) == (job_pb2.JOB_STATE_FAILED, "MODEL_NOT_FOUND")
    assert "For a day its files stay in the namespace 'team' as sha256:" in failed.message


async def test_recipes_are_listed_with_what_can_be_chosen(service: TrainingService) -> None:
    (found,) = (await service.ann.ListRecipes(pb.ListRecipesRequest(base_task="fill-mask"))).recipes
    assert (found.name, list(found.resource_classes)) == (CLASSIFICATION.name, ["cpu"])
    rate = found.parameters[0]
    assert (rate.name, rate.default_value.number_value, rate.minimum_excluded) == ("learning_rate", 5e-5, True)
    assert not (await service.ann.ListRecipes(pb.ListRecipesRequest(base_task="object-detection"))).recipes


async def test_a_trainer_that_never_registered_gets_nothing(service: TrainingService) -> None:
    trainer = await service.trainer()
    trainer.name = "nobody"
    with refused(FailedPrecondition, "TRAINER_MISSING"):
        await trainer.lease()


def sweep(**fields: Any) -> pb.CreateSweepRequest:
    rates = sweep_pb2.Choices(values=[{"number_value": 1e-5}, {"number_value": 1e-4}])
    choices = {"learning_rate": rates, "epochs": sweep_pb2.Choices(values=[{"number_value": 1}, {"number_value": 2}])}
    wanted = spec("team/swept", promotion=job_pb2.Promotion(alias="prod"))
    return pb.CreateSweepRequest(sweep=sweep_pb2.Sweep(spec=wanted, choices=choices), **fields)


async def test_of_a_sweep_the_best_is_promoted_when_all_are_final_though_the_service_died_meanwhile(
    zoo: TrainingZoo, tmp_path_factory: Any
) -> None:
    url = f"sqlite:///{tmp_path_factory.mktemp('sweep')}/training.db"
    accuracies = [0.5, 0.8, 0.7]
    async with running_training(zoo, url) as service:
        trainer = await service.trainer()
        made = (await service.ann.CreateSweep(sweep(request_id="s"))).sweep
        assert (await service.ann.CreateSweep(sweep(request_id="s"))).sweep == made
        assert len(made.jobs) == 4
        await trainer.work(accuracies[0])
        await service.publish()
        half = (await service.ann.GetSweep(pb.GetSweepRequest(name=made.name))).sweep
        assert (half.finished, half.best, half.HasField("end_time")) == (1, made.jobs[0], False)
    async with running_training(zoo, url) as service:
        trainer = await service.trainer()
        for accuracy in accuracies[1:]:
            await trainer.work(accuracy)
        await service.ann.CancelJob(pb.CancelJobRequest(name=made.jobs[3]))
        await service.publish()
        done = (await service.ann.GetSweep(pb.GetSweepRequest(name=made.name))).sweep
        assert (done.finished, done.best, done.HasField("end_time")) == (4, made.jobs[1], True)
        best = await service.get(done.best)
        assert {best.spec.parameters[name] for name in ("epochs", "learning_rate")} == {1.0, 1e-4}
        assert (await zoo.catalog.version("team/swept@prod")).reference == best.result
        assert done.message == f"'prod' means {best.result}"
        assert not [pin for pin in zoo.pins() if any(name in pin[2] for name in made.jobs)]


@pytest.mark.parametrize(
    ("choices", "kind", "reason"),
    [
        ({"lerning_rate": sweep_pb2.Choices(values=[{"number_value": 1}])}, InvalidArgument, "PARAMETER_UNKNOWN"),
        ({"learning_rate": sweep_pb2.Choices(values=[{"number_value": 1e9}])}, InvalidArgument, "PARAMETER_INVALID"),
        ({"learning_rate": sweep_pb2.Choices(minimum=1, maximum=0)}, InvalidArgument, "SWEEP_INVALID"),
        ({"learning_rate": sweep_pb2.Choices(values=[{"list_value": {}}])}, InvalidArgument, "FIELD_INVALID"),
    ],
)
async def test_a_sweep_with_a_wrong_trial_makes_no_job(
    service: TrainingService, choices: dict[str, Any], kind: type[ZooError], reason: str
) -> None:
    before, pins = await listed(service), service.zoo.pins()
    with refused(kind, reason):
        await service.ann.CreateSweep(pb.CreateSweepRequest(sweep=sweep_pb2.Sweep(spec=spec(), choices=choices)))
    assert (await listed(service), service.zoo.pins()) == (before, pins)


async def test_a_sweep_is_validated_before_its_data_are_published(zoo: TrainingZoo, tmp_path_factory: Any) -> None:
    url = f"sqlite:///{tmp_path_factory.mktemp('foreseen')}/training.db"
    async with running_training(zoo, url, Policy(queued_most=4)) as service:
        await service.trainer()
        pins = zoo.pins()
        asked = sweep(validate_only=True)
        asked.sweep.spec.dataset, asked.sweep.spec.recipe = "", CLASSIFICATION.name
        foreseen = (await service.ann.CreateSweep(asked)).sweep
        assert (foreseen.name, list(foreseen.jobs), foreseen.spec.base) == ("", [], f"{BASE}@1")
        assert foreseen.choices == asked.sweep.choices
        asked.sweep.choices["epochs"].values.add(number_value=-1)
        with refused(InvalidArgument, "PARAMETER_INVALID"):
            await service.ann.CreateSweep(asked)
        assert (await listed(service), zoo.pins()) == (0, pins)


async def test_a_sweep_without_room_for_all_of_its_jobs_has_none(zoo: TrainingZoo, tmp_path_factory: Any) -> None:
    url = f"sqlite:///{tmp_path_factory.mktemp('room')}/training.db"
    async with running_training(zoo, url, Policy(queued_most=4)) as service:
        await service.trainer()
        await service.create()
        for asked in (sweep(), sweep(validate_only=True)):
            with refused(ResourceExhausted, "QUOTA_EXCEEDED") as refusal:
                await service.ann.CreateSweep(asked)
            assert "4 more are asked for" in refusal.error.message
        assert await listed(service) == 1


async def test_a_sweep_of_others_is_hidden(service: TrainingService) -> None:
    made = (await service.ann.CreateSweep(sweep())).sweep
    stranger = await service.caller(STRANGER)
    for name in (made.name, "sweep_none"):
        with refused(NotFound, "SWEEP_NOT_FOUND"):
            await stranger.GetSweep(pb.GetSweepRequest(name=name))
