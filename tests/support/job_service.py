"""The training service's jobs, without gRPC and without trainers: what trainers do, tests do."""

import itertools
from collections import defaultdict
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from sqlalchemy import BigInteger, Row, delete, select, type_coerce, update

import zoo_training
from modelzoo.errors import Unavailable
from support.job_log import check_job_log
from support.waiting import eventually
from zoo_server.principal import Principal, Role
from zoo_store.migration import migrate
from zoo_store.queue import Queue
from zoo_store.queue_memory import MemoryQueue
from zoo_store.sql import Database, open_database
from zoo_training.events import Event
from zoo_training.feed import EventFeed
from zoo_training.job import FINAL, Job, Made
from zoo_training.jobs import Jobs, NewJob
from zoo_training.leases import Lease, Leases, Release, Reports
from zoo_training.outcomes import Outcome
from zoo_training.policy import Policy
from zoo_training.reconciler import Reconciler
from zoo_training.requests import Request
from zoo_training.results import Results
from zoo_training.schema import jobs, rounds
from zoo_training.spec import JobSpec, Source
from zoo_training.states import States, job_row
from zoo_training.watch import Watch

MIGRATIONS = Path(zoo_training.__file__).parent / "migrations" / "versions"
LONG_AGO = datetime(2000, 1, 1, tzinfo=UTC)
BASE, DATASET = Source("zoo/bert@1", "b" * 64), Source("zoo/topics@2", "d" * 64)
RESULT = Made("e" * 64)
# Rounds come whenever a test asks for one.
POLICY = Policy(round=timedelta(0))
ADA = Principal("user:ada", {"*": Role.TRAINER})

_request_ids = itertools.count(1)


@dataclass(frozen=True, slots=True)
class Trainer:
    name: str = "trainer-1"
    host: str = "node-1"
    resource_class: str = "cpu"
    recipes: tuple[str, ...] = ("text-classification",)
    executors: tuple[str, ...] = ("process",)
    descriptions: tuple[str, ...] = ()
    processes: int = 1


TRAINER = Trainer()


def spec(output: str = "team/topics", **changes: Any) -> JobSpec:
    said = {"recipe": "text-classification", "resource_class": "cpu", "executor": "process", "max_attempts": 3}
    return JobSpec(BASE.reference, DATASET.reference, output, **{**said, **changes})


@dataclass
class Catalog:
    """Makes a version of each job once, as the real one does by the job's name as request id. While it is `away`
    nothing can be published."""

    versions: defaultdict[str, list[str]] = field(default_factory=lambda: defaultdict(list))
    away: bool = False

    def publish(self, job: Job) -> str:
        if self.away:
            raise Unavailable("DEPENDENCY_UNAVAILABLE", "the catalog does not answer")
        if not self.versions[job.name]:
            self.versions[job.name].append(f"{job.spec.output}@{len(self.versions)}")
        return self.versions[job.name][0]


class JobService:
    def __init__(
        self, database: Database, queue: Queue, policy: Policy = POLICY, catalog: Catalog | None = None
    ) -> None:
        self.database = database
        self.queue = queue
        self.catalog = catalog or Catalog()
        self.states = States(database, queue, policy)
        self.jobs = Jobs(self.states)
        self.leases = Leases(self.states, queue, draw=lambda: 0.5)
        self.results = Results(self.states)
        self.feed = EventFeed(database)
        self.watch = Watch(database, self.feed)
        self.reconciler = Reconciler(self.states, self.results, self._publish, draw=lambda: 0.5)

    async def _publish(self, job: Job) -> None:
        await self.results.succeed(job.name, job.attempts, self.catalog.publish(job))

    async def create(self, output: str = "team/topics", *, priority: int = 0, request_id: str = "", **said: Any) -> Job:
        new = NewJob(spec(output, **said), BASE, DATASET, priority=priority)
        request = Request("user:ada", "CreateJob", request_id or f"r{next(_request_ids)}", {"output": output})
        return await self.jobs.create(new, request)

    async def lease(self, trainer: Trainer = TRAINER, wait_s: float = 0) -> Lease | None:
        return await self.leases.lease(trainer, wait_s)

    async def leased(self, trainer: Trainer = TRAINER) -> Lease:
        lease = await self.lease(trainer)
        assert lease is not None, "nothing to lease"
        return lease

    async def renew(self, lease: Lease, *reports: Any, first: int = 1) -> Any:
        return await self.leases.renew(lease.job.name, lease.epoch, Reports(reports, first))

    async def release(self, lease: Lease, outcome: Outcome, *, reason: str = "", made: Made | None = None) -> Job:
        if outcome is Outcome.TRAINED:
            made = made or RESULT
        return await self.leases.release(
            lease.job.name, lease.epoch, Reports(), Release(outcome, reason, "what happened", made)
        )

    async def train(self, trainer: Trainer = TRAINER) -> Job:
        """Lease the next job and train it to its end."""
        return await self.release(await self.leased(trainer), Outcome.TRAINED)

    async def get(self, name: str) -> Job:
        return await self.jobs.get(name, ADA)

    async def events(self, name: str) -> AsyncIterator[Event]:
        async for event in self.watch.watch(name, ADA, 0, follow=False):
            yield event

    async def row(self, name: str) -> Row[Any]:
        async with self.database.read() as connection:
            return (await connection.execute(select(jobs).where(jobs.c.name == name))).one()

    async def row_with_time(self, name: str) -> Row[Any]:
        """As the service reads it."""
        async with self.database.read() as connection:
            return await job_row(connection, name)

    async def until_final(self, name: str) -> None:
        async def is_final() -> bool:
            return (await self.get(name)).state in FINAL

        await eventually(is_final)

    async def set_times(self, name: str, **times: datetime) -> None:
        """Time passes by an UPDATE, not by waiting."""
        async with self.database.write() as connection:
            await connection.execute(update(jobs).where(jobs.c.name == name).values(times))

    async def let_lease_pass(self, name: str) -> None:
        """If there is one by then: others may be ending it."""
        async with self.database.write() as connection:
            held = (jobs.c.name == name, jobs.c.lease_expires.is_not(None))
            await connection.execute(update(jobs).where(*held).values(lease_expires=LONG_AGO))

    async def lapse(self, name: str) -> None:
        """Let the lease be over, and somebody notice."""
        await self.set_times(name, lease_expires=LONG_AGO)
        await self.reconciler.round()

    async def let_backoff_pass(self, name: str) -> None:
        await self.set_times(name, run_after=LONG_AGO)
        await self.reconciler.round()

    async def let_no_round_come_for(self, silence: timedelta) -> None:
        async with self.database.write() as connection:
            earlier = type_coerce(rounds.c.last_time, BigInteger) - silence // timedelta(microseconds=1)
            await connection.execute(update(rounds).values(last_time=earlier))

    async def let_the_silence_be_forgotten(self) -> None:
        async with self.database.write() as connection:
            await connection.execute(update(rounds).values(expire_after=LONG_AGO))

    async def check(self) -> int:
        return await check_job_log(self.database, self.catalog.versions)


@contextmanager
def folder_in_memory() -> Iterator[Path]:
    """For tables whose commits are to cost nothing; on the disk, where the machine has no such folder."""
    memory = Path("/dev/shm")
    with TemporaryDirectory(prefix="zoo-", dir=memory if memory.is_dir() else None) as folder:
        yield Path(folder)


@asynccontextmanager
async def job_service(
    url: str, queue: Queue | None = None, policy: Policy = POLICY, *, migrated: bool = False
) -> AsyncIterator[JobService]:
    """On tables of its own, which are there where it is `migrated`; at the end every job's log is checked."""
    async with open_database(url) as database:
        service = JobService(database, queue or MemoryQueue(), policy)
        if migrated:
            # The last round was when the tables were made, perhaps longer ago than a lease: no lease would lapse now.
            async with database.write() as connection:
                await connection.execute(delete(rounds))
        else:
            await migrate(database, MIGRATIONS)
        await service.reconciler.round()
        yield service
        await service.check()
