"""A job's result is published once, wherever the service dies on the way.

Each call of the catalog and each transaction is a place to die: after it, which is before the next, or with its reply
lost. Publishing runs once to count its places; then, for each of them, it dies there and is done again by a service
that knows nothing.
"""

from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import delete, update

from modelzoo.errors import ZooError
from support.crashes import Crash, Crashes, CrashingDatabase, Phase
from support.training_service import running_training, spec
from support.training_zoo import BASE, CLASSIFICATION, DATA, TrainingZoo, training_zoo
from zoo.catalog.v1 import catalog_service_pb2 as pb
from zoo.catalog.v1 import lineage_service_pb2 as lineage_pb
from zoo.training.v1 import job_pb2, sweep_pb2
from zoo.training.v1 import training_service_pb2 as training_pb
from zoo_store.sql import Database, open_database
from zoo_training.job import Measured
from zoo_training.promotion import Promoter
from zoo_training.publishing import Published, Publisher, Result
from zoo_training.schema import metadata, publications, sweeps
from zoo_training.spec import JobSpec, Promotion, PromotionRule
from zoo_training.sweep_ends import SweepEnds

PHASES: tuple[Phase, ...] = ("after", "lost")
PLACES = ["create_model", "create_version", "set_metrics", "alias", "read", "version", "write", "move_alias"]
MEASURED = (Measured("accuracy", 0.25, 0.75, 0.5, "validation", 100),)


class CrashingCatalog:
    """A Catalog whose calls are places to die."""

    def __init__(self, inner: Any, crashes: Crashes) -> None:
        self._inner = inner
        self._crashes = crashes

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._inner, name)

        async def call(*arguments: Any) -> Any:
            async with self._crashes.around(name):
                return await method(*arguments)

        return call


@dataclass
class Publishing:
    zoo: TrainingZoo
    database: Database

    async def result(self, number: str, rule: PromotionRule = PromotionRule.IF_BETTER) -> Result:
        """Of a job of its own, for a model of its own, whose first version is not as good."""
        spec = JobSpec(
            base=f"{BASE}@1",
            dataset=f"{DATA}@1",
            output=f"team/made-{number}",
            recipe=CLASSIFICATION.name,
            promotion=Promotion("prod", rule),
        )
        await self.zoo.model(spec.output)
        await self.zoo.publish(spec.output, {"weights.bin": b"before"})
        await self.zoo.catalog.set_metrics(f"{spec.output}@1", spec.dataset, "validation", {"accuracy": 0.5})
        await self.zoo.catalog.move_alias(spec.output, "prod", 1, "")
        digest = await self.zoo.push("team", {"weights.bin": number.encode()})
        return Result(f"job_{number}", spec, "user:ann", digest, adapter=False, measured=MEASURED)

    async def publish(self, result: Result, crashes: Crashes | None = None) -> Published:
        """By a service that has just started."""
        crashes = crashes or Crashes()
        catalog: Any = CrashingCatalog(self.zoo.catalog, crashes)
        publisher = Publisher(catalog, Promoter(CrashingDatabase(self.database, crashes), catalog))
        return await publisher.publish(result, CLASSIFICATION)

    async def check_once(self, result: Result) -> None:
        """One version, with its metrics, its edge and its alias."""
        listed = await self.zoo.admin.ListVersions(pb.ListVersionsRequest(model=result.spec.output))
        version, _ = listed.versions
        assert version.manifest_digest == result.manifest_digest
        metrics = {metric.name: metric.value for metric in version.metrics}
        assert metrics == {"accuracy": 0.75, "accuracy.before": 0.25, "accuracy.majority": 0.5}
        alias = (await self.zoo.admin.GetAlias(pb.GetAliasRequest(model=result.spec.output, alias="prod"))).alias
        assert [target.version for target in alias.targets] == [2]
        request = lineage_pb.GetLineageRequest(reference=f"{result.spec.output}@2")
        edges = (await self.zoo.lineage.GetLineage(request)).edges
        assert [(edge.job, edge.dataset) for edge in edges if edge.job == result.job] == [(result.job, f"{DATA}@1")]


@pytest.fixture
async def publishing(tmp_path: Path) -> AsyncIterator[Publishing]:
    async with training_zoo(tmp_path) as zoo, open_database(f"sqlite:///{tmp_path}/training.db") as database:
        async with database.change_schema() as connection:
            await connection.run_sync(metadata.create_all)
        yield Publishing(zoo, database)


async def test_a_result_is_published_once_wherever_the_service_dies(publishing: Publishing) -> None:
    counted = Crashes()
    await publishing.publish(await publishing.result("whole"), counted)
    assert counted.calls == PLACES
    for at in range(1, len(counted.calls) + 1):
        for phase in PHASES:
            result = await publishing.result(f"{at}-{phase}")
            with pytest.raises((Crash, ZooError)):
                await publishing.publish(result, Crashes(at, phase))
            published = await publishing.publish(result)
            assert published.reference == f"{result.spec.output}@2"
            await publishing.check_once(result)


async def test_the_best_of_a_sweep_is_promoted_once_wherever_the_service_dies(tmp_path: Path) -> None:
    async with training_zoo(tmp_path) as zoo, running_training(zoo) as service:
        trainer = await service.trainer()
        choices = {"epochs": sweep_pb2.Choices(values=[{"number_value": 1}, {"number_value": 2}])}
        wanted = spec("team/swept", promotion=job_pb2.Promotion(alias="prod"))
        request = training_pb.CreateSweepRequest(sweep=sweep_pb2.Sweep(spec=wanted, choices=choices))
        sweep = (await service.ann.CreateSweep(request)).sweep
        for accuracy in (0.9, 0.8):
            await trainer.work(accuracy)
        await service.upkeep.reconciler.publish()

        def ends(crashes: Crashes) -> SweepEnds:
            """Of a service that has just started, before anything was promoted."""
            catalog: Any = CrashingCatalog(zoo.catalog, crashes)
            crashing = CrashingDatabase(service.database, crashes)
            return SweepEnds(crashing, Promoter(crashing, catalog))

        counted = Crashes()
        await ends(counted).end(sweep.name)
        assert "move_alias" in counted.calls
        for at in range(1, len(counted.calls) + 1):
            for phase in PHASES:
                async with service.database.write() as connection:
                    await connection.execute(update(sweeps).values(end_time=None, best=""))
                    await connection.execute(delete(publications))
                await zoo.catalog.set_metrics("team/swept@2", f"{DATA}@1", "validation", {"accuracy": 0.8})
                await zoo.catalog.move_alias("team/swept", "prod", 2, "")
                with pytest.raises((Crash, ZooError)):
                    await ends(Crashes(at, phase)).end(sweep.name)
                await service.upkeep.sweep_ends.look()
                done = (await service.ann.GetSweep(training_pb.GetSweepRequest(name=sweep.name))).sweep
                assert (done.best, done.HasField("end_time")) == (sweep.jobs[0], True)
                assert (await zoo.catalog.alias("team/swept", "prod")).versions == (1,)


async def test_who_moves_the_alias_back_after_a_crash_is_not_overruled(publishing: Publishing) -> None:
    result = await publishing.result("rolled-back", PromotionRule.ALWAYS)
    # It compares nothing.
    moved = PLACES.index("move_alias")
    with pytest.raises(Crash):
        await publishing.publish(result, Crashes(moved, "after"))
    assert (await publishing.zoo.catalog.alias(result.spec.output, "prod")).versions == (2,)
    await publishing.zoo.catalog.move_alias(result.spec.output, "prod", 1, "")
    published = await publishing.publish(result)
    assert published.reference == f"{result.spec.output}@2"
    assert published.remarks == ("'prod' was moved by somebody else since, and stays where it is",)
    assert (await publishing.zoo.catalog.alias(result.spec.output, "prod")).versions == (1,)


async def test_a_base_that_was_deleted_meanwhile_costs_the_edge_alone(publishing: Publishing) -> None:
    zoo = publishing.zoo
    await zoo.model("zoo/short-lived")
    await zoo.publish("zoo/short-lived", {"weights.bin": b"short-lived"})
    result = await publishing.result("orphan")
    result = replace(result, spec=replace(result.spec, base="zoo/short-lived@1"))
    await zoo.admin.DeleteModel(pb.DeleteModelRequest(name="zoo/short-lived"))
    for _ in range(2):
        published = await publishing.publish(result)
        assert published.reference == "team/made-orphan@2"
        assert published.remarks[0] == "zoo/short-lived@1 was deleted since: the version has no edge to it"
