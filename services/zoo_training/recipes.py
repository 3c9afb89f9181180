"""Who can train what: trainers and their recipes, as they last registered. One that is silent for a while is gone.

Trainers of several releases may describe a recipe in several ways. A job is checked by one of them, the newest that
some trainer has, and only trainers that have it get the job.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Row, case, delete, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from modelzoo.errors import FailedPrecondition
from zoo_store.sql import Database, now
from zoo_training.parameters import checked_recipe
from zoo_training.recipe import RECIPE_JSON, Recipe, description_digest, fits
from zoo_training.schema import descriptions, trainers

__all__ = ["Recipes", "RegisteredTrainers", "Trainer"]

# They register at their start and once a minute.
GONE_AFTER = timedelta(minutes=5)
# Names are new with every start, so that nobody comes back under one.
FORGOTTEN_AFTER = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Trainer:
    """An agent; `recipes` are names, `descriptions` the digests under which it described them. It gives one job at most
    so many `processes`."""

    name: str
    host: str
    resource_class: str
    recipes: tuple[str, ...]
    executors: tuple[str, ...]
    descriptions: tuple[str, ...] = ()
    processes: int = 1

    def serves(self, resource_class: str, executor: str, processes: int = 1) -> bool:
        """Whether it takes jobs of this class and executor, of so many processes; '' is any."""
        in_class = resource_class in ("", self.resource_class)
        return in_class and (not executor or executor in self.executors) and processes <= self.processes


@dataclass(frozen=True, slots=True)
class RegisteredTrainers:
    """Trainers that were seen lately, and all descriptions of recipes that one has ever brought, the newest first: that
    which was first brought last."""

    trainers: tuple[Trainer, ...]
    described: tuple[Recipe, ...]

    def alive(self, resource_class: str = "", executor: str = "") -> list[Recipe]:
        """Of each recipe that some of these trainers knows the newest description that one of them has, by name."""
        serving = [trainer for trainer in self.trainers if trainer.serves(resource_class, executor)]
        digests = {digest for trainer in serving for digest in trainer.descriptions}
        return _newest(recipe for recipe in self.described if recipe.digest in digests)

    def known(self, resource_class: str, executor: str) -> list[Recipe]:
        """Every recipe there ever was, by name: as trainers of the class and executor describe it, else as any trainer
        does, else as one did last."""
        best = (*self.alive(resource_class, executor), *self.alive(), *self.described)
        return _newest(best)


class Recipes:
    def __init__(self, database: Database) -> None:
        self._database = database
        self._described: dict[str, Recipe] = {}
        """What was read of descriptions, by their digests: they never change, and every new job looks at them all."""

    async def register(self, trainer: Trainer, described: Sequence[Recipe]) -> None:
        """The trainer is there, and this is what it can do. Raises FIELD_INVALID for a recipe that contradicts
        itself."""
        described = [replace(checked, digest=description_digest(checked)) for checked in map(checked_recipe, described)]
        row = {
            "host": trainer.host,
            "resource_class": trainer.resource_class,
            "recipes": [recipe.name for recipe in described],
            "descriptions": [recipe.digest for recipe in described],
            "executors": list(trainer.executors),
            "processes": trainer.processes,
        }
        async with self._database.write() as connection:
            seen = insert(trainers).values(name=trainer.name, **row, seen_time=now())
            await connection.execute(
                seen.on_conflict_do_update(index_elements=[trainers.c.name], set_={**row, "seen_time": now()})
            )
            # In one order, so that two who register at once do not wait for each other.
            for recipe in sorted(described, key=lambda recipe: recipe.digest):
                await _describe(connection, recipe)
            time = (await connection.execute(select(now()))).scalar_one()
            await connection.execute(delete(trainers).where(trainers.c.seen_time < time - FORGOTTEN_AFTER))

    async def registered(self) -> RegisteredTrainers:
        async with self._database.read() as connection:
            time = (await connection.execute(select(now()))).scalar_one()
            seen = select(trainers).where(trainers.c.seen_time > time - GONE_AFTER).order_by(trainers.c.name)
            there = tuple(map(_trainer_from_row, await connection.execute(seen)))
            newest_first = (descriptions.c.name, descriptions.c.first_time.desc(), descriptions.c.digest)
            stamps = select(descriptions.c.digest, descriptions.c.update_time).order_by(*newest_first)
            known = (await connection.execute(stamps)).all()
            await self._read(connection, [row.digest for row in known if row.digest not in self._described])
        return RegisteredTrainers(
            there, tuple(_offered(self._described[row.digest], row.update_time, there) for row in known)
        )

    async def _read(self, connection: AsyncConnection, digests: Sequence[str]) -> None:
        if digests:
            wanted = select(descriptions).where(descriptions.c.digest.in_(digests))
            for row in await connection.execute(wanted):
                self._described[row.digest] = _description(row)

    async def list(self, base_task: str = "") -> list[Recipe]:
        """What can be done now, by name; of those that start from models of this task, where one is given."""
        found = (await self.registered()).alive()
        return [recipe for recipe in found if not base_task or fits(recipe, base_task)]

    async def find(self, name: str, digest: str = "") -> Recipe | None:
        """As the description of this digest says, else as the newest of the name does, whoever is there; None where
        nobody ever described it."""
        mine = select(descriptions).where(descriptions.c.name == name)
        best_first = (case((descriptions.c.digest == digest, 0), else_=1), descriptions.c.first_time.desc())
        async with self._database.read() as connection:
            row = (await connection.execute(mine.order_by(*best_first).limit(1))).one_or_none()
        return None if row is None else _offered(_description(row), row.update_time, ())

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
    plain = replace(recipe, update_time=None, resource_classes=(), digest="")
    row = {"name": recipe.name, "description": RECIPE_JSON.dump_python(plain, mode="json")}
    described = insert(descriptions).values(digest=recipe.digest, **row, first_time=now(), update_time=now())
    await connection.execute(
        described.on_conflict_do_update(index_elements=[descriptions.c.digest], set_={"update_time": now()})
    )


def _newest(newest_first: Iterable[Recipe]) -> list[Recipe]:
    """The first of each name, by name."""
    by_name: dict[str, Recipe] = {}
    for recipe in newest_first:
        by_name.setdefault(recipe.name, recipe)
    return [by_name[name] for name in sorted(by_name)]


def _trainer_from_row(row: Row[Any]) -> Trainer:
    return Trainer(
        row.name,
        row.host,
        row.resource_class,
        tuple(row.recipes),
        tuple(row.executors),
        tuple(row.descriptions),
        row.processes,
    )


def _description(row: Row[Any]) -> Recipe:
    return replace(RECIPE_JSON.validate_python(row.description), digest=row.digest)


def _offered(recipe: Recipe, update_time: datetime, there: Sequence[Trainer]) -> Recipe:
    """A description with what is known of the trainers that know a recipe of its name."""
    knowing = [trainer for trainer in there if recipe.name in trainer.recipes]
    return replace(
        recipe,
        update_time=update_time,
        resource_classes=tuple(sorted({trainer.resource_class for trainer in knowing})),
        executors=tuple(sorted({executor for trainer in knowing for executor in trainer.executors})),
        processes=max((trainer.processes for trainer in knowing), default=0),
    )
