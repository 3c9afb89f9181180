"""When an alias moves to a job's result, on a real catalog and every engine."""

import itertools
from dataclasses import dataclass, replace
from typing import Any

import pytest
import pytest_asyncio

from support.training_zoo import BASE, DATA, TrainingZoo
from zoo.catalog.v1 import catalog_service_pb2 as pb
from zoo.catalog.v1 import model_pb2
from zoo_store.sql import Database
from zoo_training.job import Measured
from zoo_training.promotion import Candidate, Promoter
from zoo_training.spec import Promotion, PromotionRule

DATASET = f"{DATA}@1"
ACCURACY = Measured("accuracy", 0.5, 0.8, None, "test", 100)
IF_BETTER, ALWAYS = PromotionRule.IF_BETTER, PromotionRule.ALWAYS
pytestmark = pytest.mark.asyncio(loop_scope="module")
numbers = itertools.count()


@dataclass
class Promoting:
    """Of the model there are three versions; `prod` means the first."""

    zoo: TrainingZoo
    promoter: Promoter
    model: str

    async def promote(self, **changes: Any) -> str:
        """The third version."""
        candidate = Candidate(
            job="job_1",
            reference=f"{self.model}@3",
            promotion=Promotion("prod"),
            dataset=DATASET,
            metric="accuracy",
            lower_is_better=False,
            base=f"{BASE}@1",
            measured=(ACCURACY,),
        )
        return await self.promoter.promote(replace(candidate, **changes))

    async def measured(self, number: int, value: float, dataset: str = DATASET) -> None:
        await self.zoo.catalog.set_metrics(f"{self.model}@{number}", dataset, "test", {"accuracy": value})

    async def prod(self) -> tuple[int, ...]:
        return (await self.zoo.catalog.alias(self.model, "prod")).versions


@pytest_asyncio.fixture(loop_scope="module")
async def promoting(zoo: TrainingZoo, database: Database) -> Promoting:
    model = f"team/topics-{next(numbers)}"
    await zoo.model(model)
    for number in range(3):
        await zoo.publish(model, {"a": f"{number}".encode()})
    await zoo.catalog.move_alias(model, "prod", 1, "")
    return Promoting(zoo, Promoter(database, zoo.catalog), model)


async def test_without_an_alias_nothing_is_promoted(promoting: Promoting) -> None:
    assert await promoting.promote(promotion=Promotion()) == ""


async def test_the_better_one_gets_the_alias_and_doing_it_again_changes_nothing(promoting: Promoting) -> None:
    await promoting.measured(1, 0.7)
    for _ in range(2):
        assert await promoting.promote() == f"'prod' means {promoting.model}@3"
        assert await promoting.prod() == (3,)


@pytest.mark.parametrize(
    ("theirs", "changes", "says"),
    [
        (0.8, {}, "is not surpassed"),
        (0.9, {}, "accuracy is 0.8, and 0.9"),
        (0.75, {"promotion": Promotion("prod", IF_BETTER, 0.1)}, "a margin of 0.1"),
        (0.7, {"lower_is_better": True}, "is not surpassed"),
        (0.1, {"measured": ()}, "has no accuracy to compare"),
        (None, {}, "has no accuracy on the split 'test' of zoo/topics@1"),
    ],
)
async def test_one_that_is_not_better_does_not(
    promoting: Promoting, theirs: float | None, changes: dict[str, object], says: str
) -> None:
    if theirs is not None:
        await promoting.measured(1, theirs)
    remark = await promoting.promote(**changes)
    assert says in remark
    assert await promoting.prod() == (1,)


async def test_a_lower_loss_is_better_where_the_recipe_says_so(promoting: Promoting) -> None:
    await promoting.measured(1, 0.9)
    await promoting.promote(lower_is_better=True)
    assert await promoting.prod() == (3,)


async def test_metrics_of_another_dataset_are_not_compared(promoting: Promoting) -> None:
    await promoting.measured(1, 0.1, dataset="glue")
    assert "measure it" in await promoting.promote()


async def test_the_base_is_compared_by_what_it_was_measured_at_before(promoting: Promoting) -> None:
    await promoting.promote(base=f"{promoting.model}@1")
    assert await promoting.prod() == (3,)


async def test_every_target_of_an_alias_must_be_surpassed(promoting: Promoting) -> None:
    await promoting.measured(1, 0.7)
    await promoting.measured(2, 0.9)
    targets = [model_pb2.AliasTarget(version=1, weight=9), model_pb2.AliasTarget(version=2, weight=1)]
    alias = model_pb2.Alias(model=promoting.model, alias="prod", targets=targets)
    await promoting.zoo.admin.SetAlias(pb.SetAliasRequest(alias=alias))
    assert f"0.9 of {promoting.model}@2" in await promoting.promote()


@pytest.mark.parametrize("rule", [IF_BETTER, ALWAYS])
async def test_an_alias_that_means_nothing_yet_is_made(promoting: Promoting, rule: PromotionRule) -> None:
    await promoting.promote(promotion=Promotion("canary", rule))
    assert (await promoting.zoo.catalog.alias(promoting.model, "canary")).versions == (3,)


async def test_always_asks_nothing(promoting: Promoting) -> None:
    await promoting.measured(1, 0.99)
    await promoting.promote(promotion=Promotion("prod", ALWAYS))
    assert await promoting.prod() == (3,)


async def test_a_version_that_cannot_be_promoted_leaves_the_alias_and_says_why(promoting: Promoting) -> None:
    await promoting.zoo.admin.QuarantineVersion(
        pb.QuarantineVersionRequest(reference=f"{promoting.model}@3", reason="bad")
    )
    remark = await promoting.promote(promotion=Promotion("prod", ALWAYS))
    assert remark.startswith(f"'prod' does not move to {promoting.model}@3: ")
    assert await promoting.prod() == (1,)
