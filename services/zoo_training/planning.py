"""What CreateJob checks and fills in before anything is stored: all about a job that can be known beforehand."""

import asyncio
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy import select

from modelzoo.errors import FailedPrecondition, InvalidArgument, NotFound, PermissionDenied
from modelzoo.reference import parse
from zoo_server.principal import Principal, Role
from zoo_store.sql import Database, now
from zoo_training.budgeting import check_budget, check_deadline, check_promotion
from zoo_training.catalog import Catalog, CatalogVersion, Dataset
from zoo_training.choosing import (
    check_base,
    check_dataset,
    check_processes,
    choose_recipe,
    find_recipe,
    require_trainer,
)
from zoo_training.parameters import complete_parameters
from zoo_training.recipe import Recipe
from zoo_training.recipes import Recipes, RegisteredTrainers
from zoo_training.spec import JobSpec, Source

__all__ = ["Grounds", "Plan", "Planner"]

# The format of versions that are changes of another.
ADAPTER = "adapter"
RESOURCE_CLASS, EXECUTOR = "cpu", "process"
ATTEMPTS, SEED = 3, 42
# Stands for data that are still to be published.
NO_FACTS = Dataset("", (), ())
UNPUBLISHED = CatalogVersion("", "", "", "", "", gated=False, dataset=NO_FACTS, metrics={})


@dataclass(frozen=True, slots=True)
class Plan:
    """A job that can be queued: its spec is complete, and `base` and `dataset` are fixed."""

    spec: JobSpec
    base: Source
    dataset: Source
    recipe: Recipe


@dataclass(frozen=True, slots=True)
class Grounds:
    """What the catalog and the trainers say about a spec: jobs that differ in parameters alone share it."""

    output: str
    base: CatalogVersion
    dataset: CatalogVersion
    facts: Dataset
    recipe: Recipe
    trainers: RegisteredTrainers

    def plan(self, spec: JobSpec, parameters: Mapping[str, object]) -> Plan:
        """The spec with these parameters, completed. Raises PARAMETER_UNKNOWN, PARAMETER_INVALID, FIELD_INVALID,
        ALIAS_INVALID, TRAINER_MISSING."""
        complete = replace(
            spec,
            base=self.base.reference,
            dataset=self.dataset.reference,
            output=self.output,
            recipe=self.recipe.name,
            parameters=complete_parameters(self.recipe, parameters),
            resource_class=spec.resource_class or RESOURCE_CLASS,
            executor=spec.executor or EXECUTOR,
            max_attempts=spec.max_attempts or ATTEMPTS,
            seed=spec.seed or SEED,
        )
        check_budget(complete.budget, complete.parameters, self.facts)
        check_promotion(complete.promotion, self.recipe)
        check_processes(self.recipe, complete.processes)
        require_trainer(self.recipe, complete, self.trainers)
        return Plan(
            complete,
            Source(self.base.reference, self.base.manifest_digest),
            Source(self.dataset.reference, self.dataset.manifest_digest),
            self.recipe,
        )


class Planner:
    def __init__(self, database: Database, catalog: Catalog, recipes: Recipes) -> None:
        self._database = database
        self._catalog = catalog
        self._recipes = recipes

    async def plan(self, spec: JobSpec, principal: Principal) -> Plan:
        """The job that `principal`, a trainer in the output's namespace, would get. Stores nothing.

        Raises REFERENCE_INVALID, NAMESPACE_NOT_FOUND, MODEL_NOT_FOUND, VERSION_NOT_FOUND, ALIAS_NOT_FOUND,
        VERSION_STATE_INVALID, ACCESS_NOT_GRANTED, KIND_MISMATCH, BASE_UNSUITABLE, TASK_MISMATCH, RECIPE_UNKNOWN,
        COLUMN_MISSING, DATASET_UNSUITABLE, and what `Grounds.plan` does; DEPENDENCY_UNAVAILABLE where the catalog does
        not answer.
        """
        return (await self.grounds(spec, principal)).plan(spec, spec.parameters)

    async def foreseen(self, spec: JobSpec, principal: Principal) -> Grounds:
        """As `grounds`, also for data that are still to be published: where no dataset is named, what does not depend
        on one is checked, by the recipe that is named, and the dataset is empty."""
        if spec.dataset:
            return await self.grounds(spec, principal)
        await self._check_deadline(spec)
        output, base = await self._output(spec.output), await self._version(spec.base, "base", principal)
        _check_kind(base)
        trainers = await self._recipes.registered()
        recipe = find_recipe(spec.recipe, _known(trainers, spec))
        check_base(recipe, base)
        return Grounds(output, base, UNPUBLISHED, NO_FACTS, recipe, trainers)

    async def grounds(self, spec: JobSpec, principal: Principal) -> Grounds:
        """What a plan is made of; raises as `plan` does."""
        await self._check_deadline(spec)
        output, base, dataset, trainers = await self._named(spec, principal)
        _check_kind(base)
        if dataset.dataset is None:
            raise _kind_mismatch("dataset", dataset.reference, "a model", "name a version that was pushed as a dataset")
        if spec.recipe:
            recipe = find_recipe(spec.recipe, _known(trainers, spec))
        else:
            alive = trainers.alive(spec.resource_class or RESOURCE_CLASS, spec.executor or EXECUTOR)
            recipe = choose_recipe(base, dataset, alive)
        check_dataset(recipe, base, dataset, dataset.dataset)
        return Grounds(output, base, dataset, dataset.dataset, recipe, trainers)

    async def _check_deadline(self, spec: JobSpec) -> None:
        if spec.deadline is None:
            return
        async with self._database.read() as connection:
            check_deadline(spec.deadline, (await connection.execute(select(now()))).scalar_one())

    async def _named(
        self, spec: JobSpec, principal: Principal
    ) -> tuple[str, CatalogVersion, CatalogVersion, RegisteredTrainers]:
        """Output, base and dataset, and who could train. All are asked for at once, the catalog being another process;
        of several that are wrong the first is told."""
        output = asyncio.create_task(self._output(spec.output))
        base = asyncio.create_task(self._version(spec.base, "base", principal))
        dataset = asyncio.create_task(self._version(spec.dataset, "dataset", principal))
        trainers = asyncio.create_task(self._recipes.registered())
        async with _ended(output, base, dataset, trainers):
            return await output, await base, await dataset, await trainers

    async def _output(self, output: str) -> str:
        """As it was created, or is to be. Raises what a name that no result could get is refused with."""
        reference = parse(output)
        if "@" in output:
            raise InvalidArgument(
                "REFERENCE_INVALID",
                f"'{output}' names a version, and the output is a model that gets a new one: write {reference.model}",
                field="spec.output",
            )
        model = await self._catalog.model(reference.model)
        if model is None:
            namespace = asyncio.create_task(self._catalog.require_namespace(reference.namespace))
            deleted = asyncio.create_task(self._catalog.is_deleted(reference.model))
            async with _ended(namespace, deleted):
                await namespace
                is_deleted = await deleted
            if is_deleted:
                raise NotFound(
                    "MODEL_NOT_FOUND",
                    f"the model '{reference.model}' was deleted and keeps its name: undelete it, or choose another",
                    field="spec.output",
                )
            return reference.model
        if model.is_dataset:
            raise _kind_mismatch("output", model.name, "a dataset", "choose another name for the result")
        return model.name

    async def _version(self, text: str, role: str, principal: Principal) -> CatalogVersion:
        """What the reference means now, if the principal may use it."""
        reference = parse(text)
        if not principal.has(Role.VIEWER, reference.namespace):
            # As the catalog answers for what is not there.
            raise NotFound(
                "MODEL_NOT_FOUND",
                f"there is no model '{reference.model}', or none that you may see: list models, or ask an admin for a "
                "grant",
                field=f"spec.{role}",
            )
        version = await self._catalog.version(text)
        passes = principal.has(Role.PUBLISHER, version.namespace)
        if version.gated and not passes:
            refusal = await self._catalog.refusal(version.model, principal.subject)
            if refusal is not None:
                raise PermissionDenied(
                    "ACCESS_NOT_GRANTED", refusal, metadata={"model": version.model}, field=f"spec.{role}"
                )
        return version


@asynccontextmanager
async def _ended(*tasks: asyncio.Task[Any]) -> AsyncGenerator[None]:
    """After the block none of them runs any more."""
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def _known(trainers: RegisteredTrainers, spec: JobSpec) -> Sequence[Recipe]:
    return trainers.known(spec.resource_class or RESOURCE_CLASS, spec.executor or EXECUTOR)


def _check_kind(base: CatalogVersion) -> None:
    if base.dataset is not None:
        raise _kind_mismatch("base", base.reference, "a dataset", "name a model as the base")
    if base.format == ADAPTER:
        raise FailedPrecondition(
            "BASE_UNSUITABLE",
            f"{base.reference} is an adapter, and training starts from a full model: `zoo merge {base.reference} --to "
            "NAMESPACE/NAME` makes one of it and its base; start from that",
            field="spec.base",
            metadata={"reference": base.reference},
        )


def _kind_mismatch(role: str, name: str, kind: str, advice: str) -> FailedPrecondition:
    return FailedPrecondition(
        "KIND_MISMATCH",
        f"the {role} '{name}' is {kind}: {advice}",
        field=f"spec.{role}",
        metadata={"kind": kind.removeprefix("a "), "field": f"spec.{role}"},
    )
