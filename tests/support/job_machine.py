"""Jobs, trainers, time, and whatever can go wrong between them, in any order; a model says what must come of it."""

import asyncio
from collections.abc import Coroutine
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Any, TypeVar

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from modelzoo.errors import Aborted, FailedPrecondition
from support.job_service import ADA, LONG_AGO, JobService, Trainer, folder_in_memory, job_service
from zoo_store.queue import open_queue
from zoo_training.events import Log, Metrics, Severity
from zoo_training.job import FINAL, Checkpoint, JobState, Progress, Wanted
from zoo_training.jobs import JobEdit
from zoo_training.leases import Lease, Reports
from zoo_training.outcomes import Outcome

T = TypeVar("T")

NAMESPACES = st.sampled_from(["a", "b", "c"])
CLASSES = st.sampled_from(["cpu", "cpu", "gpu"])
PRIORITIES = st.integers(-2, 2)
PICKS = st.integers(0, 20)
OUTCOMES = st.sampled_from([outcome for outcome in Outcome if outcome is not Outcome.LAPSED])


@dataclass
class Held:
    """A lease as its trainer sees it, which may be wrong by now; `sent` of its events were taken."""

    lease: Lease
    sent: int = 0
    step: int = 0
    over: bool = False


class JobMachine(RuleBasedStateMachine):
    """On SQLite and a queue in memory; others say where else."""

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.stack = AsyncExitStack()
        self.queue = self.run(self.stack.enter_async_context(open_queue(self.queue_url())))
        self.service: JobService = self.run(
            self.stack.enter_async_context(job_service(self.database_url(), self.queue))
        )
        # A second replica: what one does, the other sees.
        self.replicas = [self.service, JobService(self.service.database, self.queue, catalog=self.service.catalog)]
        self.turn = 0
        self.names: list[str] = []
        self.held: list[Held] = []
        self.counted: dict[str, int] = {}

    def database_url(self) -> str:
        return f"sqlite:///{self.stack.enter_context(folder_in_memory())}/training.db"

    def queue_url(self) -> str:
        return "memory://"

    def teardown(self) -> None:
        self.go_on_to_the_end()
        self.run(self.stack.aclose())
        self.runner.close()

    def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        return self.runner.run(coroutine)

    @property
    def zoo(self) -> JobService:
        self.turn += 1
        return self.replicas[self.turn % len(self.replicas)]

    def state(self, name: str) -> JobState:
        return self.run(self.service.get(name)).state

    def holds(self, held: Held) -> bool:
        """Whether the job is still the trainer's."""
        row = self.run(self.service.row(held.lease.job.name))
        return row.state == "RUNNING" and row.epoch == held.lease.epoch and row.lease_expires is not None

    @initialize()
    def begin(self) -> None:
        self.create("a", "cpu", 0, "first")
        self.create("b", "cpu", 1, "second")
        self.lease("cpu")

    @rule(namespace=NAMESPACES, resource_class=CLASSES, priority=PRIORITIES, request=st.sampled_from(["", "", "same"]))
    def create(self, namespace: str, resource_class: str, priority: int, request: str) -> None:
        request_id = f"{namespace}-{resource_class}-{request}" if request else ""
        said = {"resource_class": resource_class, "max_attempts": 2}
        job = self.run(self.zoo.create(f"{namespace}/model", priority=priority, request_id=request_id, **said))
        if job.name not in self.names:
            assert job.state is JobState.QUEUED
            self.names.append(job.name)

    @rule(resource_class=CLASSES)
    def lease(self, resource_class: str) -> None:
        trainer = Trainer(f"trainer-{len(self.held)}", resource_class=resource_class)
        lease = self.run(self.zoo.lease(trainer))
        if lease is not None:
            assert lease.job.spec.resource_class == resource_class
            assert not any(self.holds(h) for h in self.held if h.lease.job.name == lease.job.name and h.lease != lease)
            step = lease.job.checkpoint.step if lease.job.checkpoint else 0
            self.held.append(Held(lease, step=step))

    @precondition(lambda self: self.held)
    @rule(pick=PICKS, reports=st.integers(0, 3), repeated=st.integers(0, 2), checkpoint=st.booleans())
    def renew(self, pick: int, reports: int, repeated: int, checkpoint: bool) -> None:
        """By a trainer that may be a zombie, and may send again what was taken."""
        held = self.held[pick % len(self.held)]
        holds = self.holds(held)
        repeated = min(repeated, held.sent)
        said: list[Any] = [Log(Severity.INFO, f"{number}") for number in range(repeated + reports)]
        if checkpoint:
            said += [Metrics(Progress(held.step + 1)), Checkpoint(held.step + 1, "c" * 64)]
        first = held.sent - repeated + 1
        try:
            answer = self.run(self.zoo.leases.renew(held.lease.job.name, held.lease.epoch, Reports(said, first)))
        except Aborted:
            assert not holds
            held.over = True
            return
        assert holds
        assert answer.wanted is answer.job.wanted
        held.sent += len(said) - repeated
        held.step += checkpoint

    @precondition(lambda self: self.held)
    @rule(pick=PICKS, outcome=OUTCOMES)
    def release(self, pick: int, outcome: Outcome) -> None:
        held = self.held[pick % len(self.held)]
        name, epoch = held.lease.job.name, held.lease.epoch
        holds, before = self.holds(held), self.run(self.service.row(name))
        try:
            job = self.run(self.zoo.release(held.lease, outcome, reason="X"))
        except Aborted:
            assert not holds
            assert before.released_epoch != epoch
            return
        if not holds:
            assert before.released_epoch == epoch, "a zombie gave back what was not its own"
            assert job.last_sequence == before.last_sequence
            return
        if before.wanted == Wanted.CANCEL.value:
            assert job.state is JobState.CANCELLED
        elif outcome is Outcome.TRAINED:
            assert job.state is JobState.RUNNING
        elif outcome is Outcome.HOPELESS:
            assert job.state is JobState.FAILED
        elif before.wanted == Wanted.PAUSE.value:
            assert job.state in (JobState.PAUSED, JobState.FAILED)
        else:
            assert job.state in (JobState.QUEUED, JobState.FAILED)

    @rule(pick=PICKS, decision=st.sampled_from(["cancel", "pause", "resume"]))
    def decide(self, pick: int, decision: str) -> None:
        name = self.names[pick % len(self.names)]
        before = self.run(self.service.row(name))
        try:
            job = self.run(getattr(self.zoo.jobs, decision)(name, ADA))
        except FailedPrecondition:
            assert before.state in {s.value for s in FINAL} or before.made or before.wanted == "CANCEL"
            return
        wanted = {"cancel": Wanted.CANCEL, "pause": Wanted.PAUSE, "resume": Wanted.RUN}[decision]
        assert job.wanted is wanted
        if before.state != "RUNNING" and job.state not in FINAL:
            assert job.state is {"pause": JobState.PAUSED, "resume": JobState.QUEUED}[decision]

    @rule(pick=PICKS, priority=PRIORITIES)
    def update(self, pick: int, priority: int) -> None:
        name = self.names[pick % len(self.names)]
        before = self.run(self.service.get(name))
        try:
            assert (
                self.run(self.zoo.jobs.update(name, JobEdit(priority, {"p": str(priority)}), "", ADA)).priority
                == priority
            )
        except FailedPrecondition:
            assert before.state in FINAL

    @rule(pick=PICKS)
    def let_a_lease_pass(self, pick: int) -> None:
        name = self.names[pick % len(self.names)]
        if self.run(self.service.row(name)).lease_expires is not None:
            self.run(self.service.set_times(name, lease_expires=LONG_AGO))

    @rule(pick=PICKS)
    def let_a_backoff_pass(self, pick: int) -> None:
        self.run(self.service.set_times(self.names[pick % len(self.names)], run_after=LONG_AGO))

    @rule(pick=PICKS)
    def let_a_deadline_pass(self, pick: int) -> None:
        if pick == 0:
            self.run(self.service.set_times(self.names[0], deadline=LONG_AGO))

    @rule()
    def reconcile(self) -> None:
        self.run(self.zoo.reconciler.round())

    @rule(away=st.booleans())
    def publish(self, away: bool) -> None:
        self.service.catalog.away = away
        self.run(self.zoo.reconciler.publish())

    @rule()
    def empty_the_queue(self) -> None:
        for resource_class in ("cpu", "gpu"):
            while self.run(self.queue.pop(resource_class, 0)) is not None:
                pass

    @rule(namespace=st.sampled_from(["a", "b", "nobody"]), resource_class=CLASSES, rank=st.floats(-100, 100))
    def put_what_is_not_true(self, namespace: str, resource_class: str, rank: float) -> None:
        """Twice, long over, or of nobody."""
        self.run(self.queue.put(resource_class, {namespace: rank}))

    @invariant()
    def every_log_is_in_order_and_only_grows(self) -> None:
        self.run(self.service.check())
        for name in self.names:
            last = self.run(self.service.get(name)).last_sequence
            assert last >= self.counted.get(name, 0)
            self.counted[name] = last

    def go_on_to_the_end(self) -> None:
        """Nothing is stuck: what is resumed, and what lapses, is trained."""
        self.service.catalog.away = False
        for name in self.names:
            try:
                self.run(self.service.jobs.resume(name, ADA))
            except FailedPrecondition:
                continue
        for _ in range(4):
            for name in self.names:
                self.let_a_lease_pass(self.names.index(name))
                self.let_a_backoff_pass(self.names.index(name))
            self.reconcile()
            for resource_class in ("cpu", "gpu"):
                while (lease := self.run(self.zoo.lease(Trainer(resource_class=resource_class)))) is not None:
                    self.run(self.zoo.release(lease, Outcome.TRAINED))
            self.run(self.zoo.reconciler.publish())
        states = {name: self.state(name) for name in self.names}
        assert set(states.values()) <= FINAL, f"in the end: {states}"
        self.run(self.service.check())
