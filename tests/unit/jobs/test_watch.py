"""Watchers see every event of a job once and in order, whoever writes it, and come back where they were."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from modelzoo.errors import NotFound, OutOfRange, Unavailable
from support.job_service import ADA, JobService
from zoo_server.principal import Principal, Role
from zoo_training.events import Event, Log, Severity, StateChange
from zoo_training.feed import EventFeed, open_feed
from zoo_training.job import JobState
from zoo_training.outcomes import Outcome
from zoo_training.watch import Watch


@pytest.fixture
async def feed(service: JobService) -> AsyncIterator[EventFeed]:
    async with open_feed(service.database) as feed:
        yield feed


async def test_a_watcher_follows_a_job_to_its_last_event(service: JobService, feed: EventFeed) -> None:
    job = await service.create()
    seen: list[Event] = []

    async def follow() -> None:
        async for event in Watch(service.database, feed).watch(job.name, ADA, 0, follow=True):
            seen.append(event)

    watching = asyncio.create_task(follow())
    lease = await service.leased()
    for number in range(5):
        await service.renew(lease, Log(Severity.INFO, str(number)), first=number + 1)
    await service.release(lease, Outcome.TRAINED)
    await service.reconciler.publish()
    await asyncio.wait_for(watching, 10)
    assert [event.sequence for event in seen] == list(range(1, 10))
    assert [event.body.state for event in seen if isinstance(event.body, StateChange)] == [
        JobState.QUEUED,
        JobState.RUNNING,
        JobState.RUNNING,
        JobState.SUCCEEDED,
    ]


async def test_a_watcher_goes_on_from_its_cursor_and_over_pages(service: JobService, feed: EventFeed) -> None:
    job = await service.create()
    await service.renew(await service.leased(), *[Log(Severity.INFO, str(number)) for number in range(450)])
    watch = Watch(service.database, feed)
    sequences = [event.sequence async for event in watch.watch(job.name, ADA, 3, follow=False)]
    assert sequences == list(range(4, 453))
    assert [event async for event in watch.watch(job.name, ADA, 452, follow=False)] == []


async def test_a_job_that_ends_while_its_watcher_reads_ends_the_watch(service: JobService, feed: EventFeed) -> None:
    job = await service.create()
    lease = await service.leased()
    await service.renew(lease, *[Log(Severity.INFO, str(number)) for number in range(450)])
    events = Watch(service.database, feed).watch(job.name, ADA, 0, follow=True)
    await anext(events)  # of the first page
    await service.release(lease, Outcome.TRAINED)
    await service.reconciler.publish()
    async with asyncio.timeout(30):
        *_, last = [event async for event in events]
    assert isinstance(last.body, StateChange)
    assert last.body.state is JobState.SUCCEEDED


async def test_a_cursor_beyond_the_end_and_a_strangers_watch_are_refused(service: JobService, feed: EventFeed) -> None:
    job = await service.create()
    watch = Watch(service.database, feed)
    with pytest.raises(OutOfRange) as refused:
        await anext(watch.watch(job.name, ADA, 2, follow=True))
    assert refused.value.metadata == {"last": "1"}
    for name, principal in ((job.name, Principal("user:eve", {"other": Role.ADMIN})), ("job_0", ADA)):
        with pytest.raises(NotFound):
            await anext(watch.watch(name, principal, 0, follow=True))


async def test_a_watch_ends_when_it_is_old_and_when_the_service_does(service: JobService, feed: EventFeed) -> None:
    job = await service.create()
    for watch_s, reason in ((0.05, "WATCH_EXPIRED"), (60.0, "DRAINING")):
        events = Watch(service.database, feed, watch_s=watch_s).watch(job.name, ADA, 1, follow=True)
        waiting = asyncio.ensure_future(anext(events))
        await asyncio.wait([waiting], timeout=0.2)
        if reason == "DRAINING":
            await feed.close()
        with pytest.raises(Unavailable) as ended:
            await asyncio.wait_for(waiting, 30)
        assert ended.value.reason == reason
