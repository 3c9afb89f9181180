"""What jobs need is pinned at the artifact service for as long as they need it."""

import grpc
import pytest

from modelzoo.errors import NotFound, Unavailable
from support.training_zoo import BASE, DATA, TrainingZoo
from zoo_store.sql import Database
from zoo_training.artifacts import Artifacts
from zoo_training.checkpoints import Checkpoints
from zoo_training.pins import Pin, PinRole, Pins

JOB = "job_1"
pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest.fixture
def pins(zoo: TrainingZoo, database: Database) -> Pins:
    return Pins(database, zoo.artifacts)


async def sources(zoo: TrainingZoo) -> list[Pin]:
    base, data = await zoo.catalog.version(BASE), await zoo.catalog.version(DATA)
    return [Pin(JOB, PinRole.BASE, "zoo", base.manifest_digest), Pin(JOB, PinRole.DATASET, "zoo", data.manifest_digest)]


def held(wanted: list[Pin]) -> set[tuple[str, str, str]]:
    return {(pin.namespace, pin.manifest_digest, pin.holder) for pin in wanted}


async def test_sources_are_pinned_until_the_job_is_over(zoo: TrainingZoo, pins: Pins) -> None:
    wanted = await sources(zoo)
    await pins.hold(wanted)
    assert zoo.pins() == held(wanted)
    await pins.hold(wanted)
    assert await pins.unpin_dropped() == 0
    await pins.drop(JOB)
    assert zoo.pins() == held(wanted)
    assert await pins.unpin_dropped() == 2
    assert zoo.pins() == set()
    assert await pins.unpin_dropped() == 0


async def test_a_source_that_is_gone_is_said_and_nothing_stays_pinned(zoo: TrainingZoo, pins: Pins) -> None:
    gone = Pin(JOB, PinRole.DATASET, "zoo", "0" * 64)
    with pytest.raises(NotFound) as caught:
        await pins.hold([(await sources(zoo))[0], gone])
    assert caught.value.reason == "MANIFEST_NOT_FOUND"
    await pins.unpin_dropped()
    assert zoo.pins() == set()


async def test_the_last_two_checkpoints_are_kept(zoo: TrainingZoo, database: Database, pins: Pins) -> None:
    checkpoints = Checkpoints(database, pins)
    digests = [await zoo.push("team", {"a": f"{step}".encode()}) for step in range(4)]
    for digest in digests:
        for _ in range(2):
            await checkpoints.keep(JOB, "team", digest)
    await pins.unpin_dropped()
    assert zoo.pins() == {("team", digest, f"training:{JOB}/checkpoint") for digest in digests[2:]}
    await pins.drop(JOB)
    await pins.unpin_dropped()


async def test_a_checkpoint_does_not_wait_for_an_artifact_service_that_is_away(
    zoo: TrainingZoo, database: Database, pins: Pins
) -> None:
    digest = await zoo.push("team", {"a": b"a"})
    async with grpc.aio.insecure_channel("127.0.0.1:1") as nowhere:
        away = Pins(database, Artifacts(nowhere))
        await Checkpoints(database, away).keep(JOB, "team", digest)
        await away.drop(JOB)
        with pytest.raises(Unavailable, match="the artifact service does not answer"):
            await away.unpin_dropped()
    # What could not be ended then is ended by the next.
    assert await pins.unpin_dropped() == 1
