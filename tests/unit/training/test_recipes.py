"""Who can train what: registrations, the newest of a recipe, and trainers that fall silent."""

from dataclasses import replace
from datetime import timedelta

import pytest
from sqlalchemy import func, select, update

from modelzoo.errors import FailedPrecondition, InvalidArgument
from support.training_zoo import CLASSIFICATION, TRAINER
from zoo_store.sql import Database
from zoo_training.recipe import Parameter, ParameterKind, description_digest
from zoo_training.recipes import FORGOTTEN_AFTER, GONE_AFTER, Recipes
from zoo_training.schema import trainers


@pytest.fixture
def recipes(any_database: Database) -> Recipes:
    return Recipes(any_database)


async def silent_for(any_database: Database, name: str, time: timedelta) -> None:
    async with any_database.write() as connection:
        seen = await connection.scalar(select(trainers.c.seen_time).where(trainers.c.name == name))
        assert seen is not None
        await connection.execute(update(trainers).where(trainers.c.name == name).values(seen_time=seen - time))


async def test_what_was_registered_is_listed_as_it_was_described(recipes: Recipes) -> None:
    await recipes.register(TRAINER, [CLASSIFICATION])
    (found,) = await recipes.list()
    assert found.update_time is not None
    (digest,) = TRAINER.descriptions
    assert replace(found, update_time=None) == replace(
        CLASSIFICATION, resource_classes=("cpu",), digest=digest, executors=("process",), processes=1
    )
    assert await recipes.trainer(TRAINER.name) == TRAINER


def test_a_description_keeps_its_digest_until_it_says_more() -> None:
    digest = description_digest(CLASSIFICATION)
    assert digest == description_digest(replace(CLASSIFICATION, processes=4, executors=("ray",)))
    assert digest != description_digest(replace(CLASSIFICATION, single_process="Its losses are weighed."))


async def test_the_newest_description_stands_and_classes_add_up(recipes: Recipes) -> None:
    await recipes.register(TRAINER, [CLASSIFICATION])
    newer = replace(CLASSIFICATION, description="Another", parameters=())
    await recipes.register(replace(TRAINER, name="agent-2", resource_class="gpu"), [newer])
    # As each does once a minute: what was brought last stands, not what was said last.
    await recipes.register(TRAINER, [CLASSIFICATION])
    (found,) = await recipes.list("fill-mask")
    assert (found.description, found.parameters, found.resource_classes) == ("Another", (), ("cpu", "gpu"))
    assert await recipes.list("image-classification") == []
    registered = await recipes.registered()
    assert [each.description for each in registered.known("cpu", "process")] == [CLASSIFICATION.description]
    assert [each.description for each in registered.known("tpu", "process")] == ["Another"]
    assert (await recipes.find(CLASSIFICATION.name, *TRAINER.descriptions)).parameters == CLASSIFICATION.parameters


async def test_a_trainer_that_fell_silent_does_not_count_and_its_recipe_stays_known(
    recipes: Recipes, any_database: Database
) -> None:
    await recipes.register(TRAINER, [CLASSIFICATION])
    await silent_for(any_database, TRAINER.name, GONE_AFTER)
    assert await recipes.list() == []
    assert [recipe.name for recipe in (await recipes.registered()).known("cpu", "process")] == [CLASSIFICATION.name]
    with pytest.raises(FailedPrecondition, match="register first"):
        await recipes.trainer(TRAINER.name)
    await recipes.register(TRAINER, [CLASSIFICATION])
    assert await recipes.trainer(TRAINER.name) == TRAINER


async def test_trainers_of_long_ago_are_forgotten(recipes: Recipes, any_database: Database) -> None:
    await recipes.register(TRAINER, [CLASSIFICATION])
    await silent_for(any_database, TRAINER.name, FORGOTTEN_AFTER)
    await recipes.register(replace(TRAINER, name="agent-2"), [CLASSIFICATION])
    async with any_database.read() as connection:
        assert (await connection.scalar(select(func.count()).select_from(trainers))) == 1


async def test_a_description_that_contradicts_itself_registers_nothing(recipes: Recipes) -> None:
    wrong = replace(CLASSIFICATION, name="other", parameters=(Parameter("a", ParameterKind.CHOICE),))
    with pytest.raises(InvalidArgument, match="no choices"):
        await recipes.register(TRAINER, [CLASSIFICATION, wrong])
    assert (await recipes.registered()).trainers == ()
