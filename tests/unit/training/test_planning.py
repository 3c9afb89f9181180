"""What CreateJob checks and fills in, against a real catalog: every error says what to do, and nothing is stored."""

import json
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import grpc
import pytest
import pytest_asyncio

from modelzoo.errors import FailedPrecondition, InvalidArgument, NotFound, PermissionDenied, Unavailable, ZooError
from support.training_zoo import BASE, CLASSIFICATION, CONFIG, DATA, TRAINER, TrainingZoo
from support.weights import weights
from zoo.catalog.v1 import access_request_pb2
from zoo.catalog.v1 import access_service_pb2 as access_pb
from zoo.catalog.v1 import catalog_service_pb2 as catalog_pb
from zoo_server.principal import Principal, Role
from zoo_store.sql import open_database
from zoo_training.catalog import Catalog
from zoo_training.planning import Planner
from zoo_training.recipe import Recipe
from zoo_training.recipes import Recipes
from zoo_training.schema import metadata
from zoo_training.spec import Budget, JobSpec, Promotion, PromotionRule

ANN = Principal("user:ann", {"team": Role.TRAINER, "zoo": Role.VIEWER})
SPEC = JobSpec(base=BASE, dataset=DATA, output="team/topics-bert", recipe=CLASSIFICATION.name)
LONG_AGO = datetime(2020, 1, 1, tzinfo=UTC)


@dataclass
class Planning:
    zoo: TrainingZoo
    planner: Planner
    recipes: Recipes

    async def refused(self, kind: type[ZooError], reason: str, principal: Principal = ANN, **changes: Any) -> ZooError:
        with pytest.raises(kind) as caught:
            await self.planner.plan(replace(SPEC, **changes), principal)
        assert caught.value.reason == reason
        assert len(caught.value.message) > 30
        return caught.value


# One for all: no test changes what another reads.
@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def planning(zoo: TrainingZoo) -> AsyncIterator[Planning]:
    async with open_database(f"sqlite:///{zoo.folder}/training.db") as database:
        async with database.change_schema() as connection:
            await connection.run_sync(metadata.create_all)
        recipes = Recipes(database)
        await recipes.register(TRAINER, [CLASSIFICATION])
        yield Planning(zoo, Planner(database, zoo.catalog, recipes), recipes)


pytestmark = pytest.mark.asyncio(loop_scope="module")


async def test_a_plan_is_complete_and_names_versions_by_number_and_digest(planning: Planning) -> None:
    plan = await planning.planner.plan(replace(SPEC, parameters={"epochs": 1}), ANN)
    assert (plan.spec.base, plan.spec.dataset, plan.spec.output) == (f"{BASE}@1", f"{DATA}@1", "team/topics-bert")
    assert (plan.spec.resource_class, plan.spec.executor) == ("cpu", "process")
    assert (plan.spec.max_attempts, plan.spec.seed) == (3, 42)
    assert plan.spec.parameters["epochs"] == 1.0
    assert plan.spec.parameters["learning_rate"] == 5e-5
    assert plan.base.manifest_digest == (await planning.zoo.catalog.version(BASE)).manifest_digest
    assert plan.dataset.manifest_digest == (await planning.zoo.catalog.version(DATA)).manifest_digest


async def test_planning_makes_nothing(planning: Planning) -> None:
    await planning.planner.plan(SPEC, ANN)
    assert await planning.zoo.catalog.model(SPEC.output) is None


async def test_without_a_recipe_the_one_that_fits_is_answered(planning: Planning) -> None:
    assert (await planning.planner.plan(replace(SPEC, recipe=""), ANN)).spec.recipe == CLASSIFICATION.name


@pytest.mark.parametrize(
    ("changes", "kind", "reason"),
    [
        ({"output": "team/a@3"}, InvalidArgument, "REFERENCE_INVALID"),
        ({"output": "te am/a"}, InvalidArgument, "REFERENCE_INVALID"),
        ({"base": "zoo/bert@"}, InvalidArgument, "REFERENCE_INVALID"),
        ({"dataset": "../topics"}, InvalidArgument, "REFERENCE_INVALID"),
        ({"output": "nowhere/a"}, NotFound, "NAMESPACE_NOT_FOUND"),
        ({"output": DATA}, FailedPrecondition, "KIND_MISMATCH"),
        ({"base": "zoo/none"}, NotFound, "MODEL_NOT_FOUND"),
        ({"base": f"{BASE}@7"}, NotFound, "VERSION_NOT_FOUND"),
        ({"base": f"{BASE}@prod"}, NotFound, "ALIAS_NOT_FOUND"),
        ({"base": DATA}, FailedPrecondition, "KIND_MISMATCH"),
        ({"dataset": BASE}, FailedPrecondition, "KIND_MISMATCH"),
        ({"dataset": "zoo/none"}, NotFound, "MODEL_NOT_FOUND"),
        ({"dataset": f"{DATA}@2"}, NotFound, "VERSION_NOT_FOUND"),
        ({"recipe": "text-clasification"}, InvalidArgument, "RECIPE_UNKNOWN"),
        ({"parameters": {"learning-rate": 1}}, InvalidArgument, "PARAMETER_UNKNOWN"),
        ({"parameters": {"learning_rate": 1e9}}, InvalidArgument, "PARAMETER_INVALID"),
        ({"parameters": {"epochs": 0}}, InvalidArgument, "PARAMETER_INVALID"),
        ({"parameters": {"warmup": 1}}, InvalidArgument, "PARAMETER_INVALID"),
        ({"budget": Budget(wall_time=timedelta(0))}, InvalidArgument, "FIELD_INVALID"),
        ({"budget": Budget(wall_time=timedelta(days=1000))}, InvalidArgument, "FIELD_INVALID"),
        ({"deadline": LONG_AGO}, InvalidArgument, "FIELD_INVALID"),
        ({"promotion": Promotion("latest")}, InvalidArgument, "ALIAS_INVALID"),
        ({"promotion": Promotion("", PromotionRule.ALWAYS)}, InvalidArgument, "FIELD_INVALID"),
        ({"promotion": Promotion("prod", PromotionRule.ALWAYS, 0.1)}, InvalidArgument, "FIELD_INVALID"),
        ({"resource_class": "h100"}, FailedPrecondition, "TRAINER_MISSING"),
        ({"executor": "ray"}, FailedPrecondition, "TRAINER_MISSING"),
        ({"processes": 2}, FailedPrecondition, "TRAINER_MISSING"),
    ],
)
async def test_what_cannot_be_done_is_refused(
    planning: Planning, changes: dict[str, Any], kind: type[ZooError], reason: str
) -> None:
    await planning.refused(kind, reason, **changes)


async def test_the_nearest_recipe_is_named(planning: Planning) -> None:
    error = await planning.refused(InvalidArgument, "RECIPE_UNKNOWN", recipe="text-clasification")
    assert error.metadata["nearest"] == CLASSIFICATION.name
    assert "did you mean 'text-classification'" in error.message


async def test_of_a_recipe_of_one_process_no_job_is_of_several(planning: Planning) -> None:
    why = "Its losses are weighed by the whole batch."
    detection = replace(CLASSIFICATION, name="detection", columns=("objects",), single_process=why)
    await planning.recipes.register(replace(TRAINER, name="agent-of-several", processes=4), [detection])
    spec = replace(SPEC, recipe=detection.name, dataset="")
    grounds = await planning.planner.foreseen(spec, ANN)
    assert grounds.plan(spec, {}).spec.processes == 1
    with pytest.raises(InvalidArgument, match=why) as caught:
        grounds.plan(replace(spec, processes=2), {})
    assert (caught.value.reason, caught.value.field) == ("FIELD_INVALID", "spec.processes")


async def test_a_trainer_elsewhere_is_told_of(planning: Planning) -> None:
    error = await planning.refused(FailedPrecondition, "TRAINER_MISSING", resource_class="h100")
    assert "there are some for cpu by process" in error.message


@pytest.mark.parametrize("field", ["base", "dataset"])
async def test_a_source_without_a_role_is_hidden(planning: Planning, field: str) -> None:
    stranger = Principal("user:sam", {"team": Role.TRAINER})
    error = await planning.refused(NotFound, "MODEL_NOT_FOUND", stranger)
    assert error.field == "spec.base"
    await planning.refused(NotFound, "MODEL_NOT_FOUND", stranger, **{field: "secret/none"})


async def test_a_gated_base_needs_an_approved_request_of_the_caller(planning: Planning) -> None:
    zoo = planning.zoo
    await zoo.model("zoo/gated", gated=True)
    await zoo.publish("zoo/gated", {"config.json": CONFIG})
    await planning.refused(PermissionDenied, "ACCESS_NOT_GRANTED", base="zoo/gated")
    publisher = Principal("user:pia", {"team": Role.TRAINER, "zoo": Role.PUBLISHER})
    assert (await planning.planner.plan(replace(SPEC, base="zoo/gated"), publisher)).spec.base == "zoo/gated@1"
    request = access_pb.RequestAccessRequest(model="zoo/gated")
    await zoo.access.RequestAccess(request)
    await planning.refused(PermissionDenied, "ACCESS_NOT_GRANTED", base="zoo/gated")
    approved = access_pb.DecideAccessRequest(
        model="zoo/gated", subject="admin", decision=access_request_pb2.ACCESS_STATE_APPROVED
    )
    await zoo.access.DecideAccess(approved)
    admin_as_viewer = Principal("admin", {"team": Role.TRAINER, "zoo": Role.VIEWER})
    assert (await planning.planner.plan(replace(SPEC, base="zoo/gated"), admin_as_viewer)).spec.base == "zoo/gated@1"


async def test_an_adapter_is_no_base_and_merging_is_named(planning: Planning) -> None:
    folder = planning.zoo.folder / "lora"
    folder.mkdir()
    (folder / "adapter_config.json").write_text('{"peft_type": "LORA"}')
    (folder / "adapter_model.safetensors").write_bytes(weights(1))
    await planning.zoo.publish_folder("zoo/lora", folder, "adapter")
    error = await planning.refused(FailedPrecondition, "BASE_UNSUITABLE", base="zoo/lora")
    assert "zoo merge zoo/lora@1 --to" in error.message


async def test_a_quarantined_or_deleted_base_is_refused(planning: Planning) -> None:
    zoo = planning.zoo
    await zoo.model("zoo/bad")
    await zoo.publish("zoo/bad", {"config.json": CONFIG, "a": b"1"})
    await zoo.publish("zoo/bad", {"config.json": CONFIG, "a": b"2"})
    await zoo.admin.QuarantineVersion(catalog_pb.QuarantineVersionRequest(reference="zoo/bad@1", reason="leaks"))
    error = await planning.refused(FailedPrecondition, "VERSION_STATE_INVALID", base="zoo/bad@1")
    assert "quarantined (leaks)" in error.message
    await zoo.admin.DeleteVersion(catalog_pb.DeleteVersionRequest(model="zoo/bad", version=2))
    await planning.refused(NotFound, "VERSION_NOT_FOUND", base="zoo/bad@2")


async def test_a_deleted_model_gets_no_versions(planning: Planning) -> None:
    await planning.zoo.model("team/gone")
    await planning.zoo.admin.DeleteModel(catalog_pb.DeleteModelRequest(name="team/gone"))
    error = await planning.refused(NotFound, "MODEL_NOT_FOUND", output="team/Gone")
    assert "undelete it" in error.message


async def test_a_base_of_another_task_is_refused(planning: Planning) -> None:
    await planning.zoo.model("zoo/gpt")
    config = json.dumps({"architectures": ["GPT2LMHeadModel"]}).encode()
    await planning.zoo.publish("zoo/gpt", {"config.json": config})
    for recipe in (CLASSIFICATION.name, ""):
        error = await planning.refused(FailedPrecondition, "TASK_MISMATCH", base="zoo/gpt", recipe=recipe)
        assert "its task is 'text-generation'" in error.message


def rows(*of: dict[str, Any]) -> bytes:
    return b"".join(json.dumps(row).encode() + b"\n" for row in of)


@pytest.mark.parametrize(
    ("files", "kind", "reason", "says"),
    [
        ({"train.jsonl": rows({"body": "a", "label": "x"})}, InvalidArgument, "COLUMN_MISSING", "'text' or 'sentence'"),
        ({"train.jsonl": rows({"text": "a"})}, InvalidArgument, "COLUMN_MISSING", "'label'"),
        (
            {"test.jsonl": rows({"text": "a", "label": "x"}, {"text": "b", "label": "y"})},
            InvalidArgument,
            "DATASET_UNSUITABLE",
            "no split 'train' (but test)",
        ),
        (
            {"train.jsonl": rows({"text": "a", "label": "x"}, {"text": "b", "label": "x"})},
            InvalidArgument,
            "DATASET_UNSUITABLE",
            "have the label 'x'",
        ),
        (
            {"train.jsonl": rows({"text": "a", "label": "x"}, {"text": "b", "label": None})},
            InvalidArgument,
            "DATASET_UNSUITABLE",
            "some of its rows have no 'label'",
        ),
    ],
    ids=["no text", "no labels", "no training split", "one class", "holes"],
)
async def test_a_dataset_that_teaches_nothing_is_refused(
    planning: Planning, request: Any, files: dict[str, bytes], kind: type[ZooError], reason: str, says: str
) -> None:
    name = f"zoo/{request.node.callspec.id.replace(' ', '-')}"
    await planning.zoo.publish_dataset(name, files)
    error = await planning.refused(kind, reason, dataset=name)
    assert says in error.message


async def test_several_recipes_that_fit_are_to_be_chosen_from(planning: Planning, tmp_path: Path) -> None:
    async with open_database(f"sqlite:///{tmp_path}/training.db") as database:
        async with database.change_schema() as connection:
            await connection.run_sync(metadata.create_all)
        recipes = Recipes(database)
        empty = Planning(planning.zoo, Planner(database, planning.zoo.catalog, recipes), recipes)
        error = await empty.refused(InvalidArgument, "RECIPE_UNKNOWN", recipe="")
        assert "start a trainer" in error.message
        other = replace(CLASSIFICATION, name="few-shot")
        await recipes.register(TRAINER, [CLASSIFICATION, other])
        error = await empty.refused(InvalidArgument, "RECIPE_UNKNOWN", recipe="")
        assert error.metadata["recipes"] == "few-shot,text-classification"


async def test_warmup_in_steps_must_end_before_the_training(planning: Planning) -> None:
    stepwise = with_warmup_steps(CLASSIFICATION)
    await planning.recipes.register(TRAINER, [CLASSIFICATION, stepwise])
    # 64 rows by 16 make 4 steps; three epochs make 12.
    for changes in ({"budget": Budget(steps=5)}, {"budget": Budget(epochs=1.0)}):
        parameters = {"warmup_steps": 5}
        await planning.refused(
            InvalidArgument, "PARAMETER_INVALID", recipe=stepwise.name, parameters=parameters, **changes
        )
    spec = replace(SPEC, recipe=stepwise.name, parameters={"warmup_steps": 11})
    assert (await planning.planner.plan(spec, ANN)).spec.parameters["warmup_steps"] == 11


def with_warmup_steps(recipe: Recipe) -> Recipe:
    warmup = replace(recipe.parameters[1], name="warmup_steps", default=0, minimum=0.0)
    return replace(
        recipe,
        name="stepwise",
        base_tasks=("image-classification", "fill-mask"),
        parameters=(*recipe.parameters, warmup),
    )


async def test_a_catalog_that_is_away_is_said(planning: Planning, tmp_path: Path) -> None:
    async with grpc.aio.insecure_channel("127.0.0.1:1") as nowhere, open_database(f"sqlite:///{tmp_path}/t.db") as own:
        with pytest.raises(Unavailable, match="the catalog does not answer"):
            await Planner(own, Catalog(nowhere), planning.recipes).plan(SPEC, ANN)
