"""Jobs whose recipe nobody describes any more as they were checked by it: its trainers were replaced by others."""

import logging
from contextlib import AbstractAsyncContextManager

from sqlalchemy import ColumnElement, select

from modelzoo.errors import InvalidArgument
from zoo_server.background import beside, repeat
from zoo_training.job import JobState, job_from_row
from zoo_training.parameters import complete_parameters
from zoo_training.recipe import Recipe
from zoo_training.recipes import Recipes
from zoo_training.schema import jobs
from zoo_training.states import States, job_row

__all__ = ["Redescribing"]

ACTOR = "reconciler"
LOOK_S = 10.0
PAGE = 100

log = logging.getLogger(__name__)


class Redescribing:
    """Lets such jobs go on under the newest description that a trainer of their class has, if their parameters hold
    under it, too. What is running keeps its own; what has no trainer at all waits for one, as ever."""

    def __init__(self, states: States, recipes: Recipes) -> None:
        self._states = states
        self._recipes = recipes

    def running(self) -> AbstractAsyncContextManager[None]:
        """Look again and again while the block runs."""
        return beside(repeat(self.look, "jobs are not looked at now", LOOK_S), "redescribing")

    async def look(self) -> None:
        """Move every job that waits for a description that is gone; doing it again changes nothing."""
        registered = await self._recipes.registered()
        kinds = (jobs.c.resource_class, jobs.c.executor, jobs.c.recipe, jobs.c.recipe_digest)
        waiting = (jobs.c.state == JobState.QUEUED.value, jobs.c.recipe_digest != "")
        async with self._states.database.read() as connection:
            found = (await connection.execute(select(*kinds).where(*waiting).distinct())).all()
        for row in found:
            serving = [one for one in registered.trainers if one.serves(row.resource_class, row.executor)]
            if any(row.recipe_digest in trainer.descriptions for trainer in serving):
                continue
            newest = {recipe.name: recipe for recipe in registered.alive(row.resource_class, row.executor)}
            if row.recipe in newest:
                same = [column == getattr(row, column.name) for column in kinds]
                await self._move_all([*waiting, *same], newest[row.recipe])

    async def _move_all(self, conditions: list[ColumnElement[bool]], recipe: Recipe) -> None:
        # Each of them does not fulfil the conditions any more, so that the first page is always another.
        while True:
            async with self._states.database.read() as connection:
                page = select(jobs.c.name).where(*conditions).order_by(jobs.c.id).limit(PAGE)
                names = (await connection.scalars(page)).all()
            for name in names:
                await self._move(name, recipe, conditions)
            if len(names) < PAGE:
                return

    async def _move(self, name: str, recipe: Recipe, conditions: list[ColumnElement[bool]]) -> None:
        async with self._states.changing() as change:
            row = await job_row(change.connection, name)
            if row.state != JobState.QUEUED.value or row.recipe_digest == recipe.digest:
                return
            try:
                complete_parameters(recipe, job_from_row(row).spec.parameters)
            except InvalidArgument as error:
                message = f"its trainers were replaced, and the recipe '{recipe.name}' is another now: {error.message}"
                await change.move(row, JobState.FAILED, ACTOR, *conditions, reason=error.reason, message=message)
                log.warning("%s cannot be trained any more: %s", name, error.message)
                return
            message = f"its trainers were replaced: it goes on with the recipe '{recipe.name}' as they describe it now"
            await change.decide(row, ACTOR, message=message, recipe_digest=recipe.digest)
