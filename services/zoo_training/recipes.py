"""Who can train what: trainers and their recipes, as they last registered. One that is silent for a while is gone."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

from sqlalchemy import Row, delete, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from modelzoo.errors import FailedPrecondition
from zoo_store.sql import Database, now
from zoo_training.parameters import checked_recipe
from zoo_training.recipe import RECIPE_JSON, Recipe, fits
from zoo_training.schema import recipes, trainers

__all__ = ["Recipes", "RegisteredTrainers", "Trainer"]

# They register at their start and once a minute.
GONE_AFTER = timedelta(minutes=5)
# Names are new with every start, so that nobody comes back under one.
FORGOTTEN_AFTER = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Trainer:
    """An agent; `recipes` are names."""

    name: str
    host: str
    resource_class: str
    recipes: tuple[str, ...]
    executors: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class RegisteredTrainers:
    """Trainers that were seen lately, and every recipe that one has ever brought."""

    trainers: tuple[Trainer, ...]
    recipes: tuple[Recipe, ...]

    def alive(self, resource_class: str = "") -> list[Recipe]:
        """Recipes that some of these trainers, or one of the class, knows."""
        return [
            recipe
            for recipe in self.recipes
            if (resource_class in recipe.resource_classes if resource_class else recipe.resource_classes)
        ]


class Recipes:
    def __init__(self, database: Database) -> None:
        self._database = database

    async def register(self, trainer: Trainer, described: Sequence[Recipe]) -> None:
        """The trainer is there, and this is what it can do; of several trainers' descriptions of a recipe the last one
        stands. Raises FIELD_INVALID for one that contradicts itself."""
        described = [checked_recipe(recipe) for recipe in described]
        row = {
            "host": trainer.host,
            "resource_class": trainer.resource_class,
            "recipes": [recipe.name for recipe in described],
            "executors": list(trainer.executors),
        }
        async with self._database.write() as connection:
            seen = insert(trainers).values(name=trainer.name, **row, seen_time=now())
            await connection.execute(
                seen.on_conflict_do_update(index_elements=[trainers.c.name], set_={**row, "seen_time": now()})
            )
            # In one order, so that two who register at once do not wait for each other.
            for recipe in sorted(described, key=lambda recipe: recipe.name):
                await _describe(connection, replace(recipe, update_time=None, resource_classes=()))
            time = (await connection.execute(select(now()))).scalar_one()
            await connection.execute(delete(trainers).where(trainers.c.seen_time < time - FORGOTTEN_AFTER))

    async def registered(self) -> RegisteredTrainers:
        async with self._database.read() as connection:
            time = (await connection.execute(select(now()))).scalar_one()
            seen = select(trainers).where(trainers.c.seen_time > time - GONE_AFTER).order_by(trainers.c.name)
            there = tuple(map(_trainer_from_row, await connection.execute(seen)))
            known = (await connection.execute(select(recipes).order_by(recipes.c.name))).all()
        return RegisteredTrainers(there, tuple(_recipe_from_row(row, there) for row in known))

    async def list(self, base_task: str = "") -> list[Recipe]:
        """What can be done now, by name; of those that start from models of this task, where one is given."""
        found = (await self.registered()).alive()
        return [recipe for recipe in found if not base_task or fits(recipe, base_task)]

    async def find(self, name: str) -> Recipe | None:
        """As it was last described, whoever is there; None where nobody ever did."""
        async with self._database.read() as connection:
            row = (await connection.execute(select(recipes).where(recipes.c.name == name))).one_or_none()
        return None if row is None else _recipe_from_row(row, ())

    async def trainer(self, name: str) -> Trainer:
        """The trainer of that name, or TRAINER_MISSING where it has not registered lately."""
        async with self._database.read() as connection:
            time = (await connection.execute(select(now()))).scalar_one()
            seen = select(trainers).where(trainers.c.name == name, trainers.c.seen_time > time - GONE_AFTER)
            row = (await connection.execute(seen)).one_or_none()
        if row is None:
            raise FailedPrecondition(
                "TRAINER_MISSING",
                f"no trainer has registered as {name!r} in the last {GONE_AFTER.seconds // 60} minutes: register first",
                metadata={"trainer": name},
            )
        return _trainer_from_row(row)


async def _describe(connection: AsyncConnection, recipe: Recipe) -> None:
    row = {"description": RECIPE_JSON.dump_python(recipe, mode="json")}
    described = insert(recipes).values(name=recipe.name, **row, update_time=now())
    await connection.execute(
        described.on_conflict_do_update(index_elements=[recipes.c.name], set_={**row, "update_time": now()})
    )


def _trainer_from_row(row: Row[Any]) -> Trainer:
    return Trainer(row.name, row.host, row.resource_class, tuple(row.recipes), tuple(row.executors))


def _recipe_from_row(row: Row[Any], there: Sequence[Trainer]) -> Recipe:
    classes = sorted({trainer.resource_class for trainer in there if row.name in trainer.recipes})
    described = RECIPE_JSON.validate_python(row.description)
    return replace(described, update_time=row.update_time, resource_classes=tuple(classes))
