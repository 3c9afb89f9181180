"""One leased job, from the agent's side: files, child, events, wishes, and the end of it."""

import asyncio
import logging
import threading
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from modelzoo.errors import ZooError
from zoo.training.v1 import event_pb2, job_pb2
from zoo.training.v1 import trainer_service_pb2 as pb
from zoo.training.v1 import trainer_service_pb2_grpc as rpc
from zoo_trainer.child_process import CHILD, ChildProcess
from zoo_trainer.credential import PrincipalFile
from zoo_trainer.failures import failure_of
from zoo_trainer.fetching import NOTHING, Fetched, Fetches, GivenUp
from zoo_trainer.renewing import HEARTBEAT_S, LeaseLost, Renewing
from zoo_trainer.stopping import Order
from zoo_trainer.task import PRINCIPAL, Place, Task, write_task

__all__ = ["PROCESS", "RAY", "Attempt", "ChildLimits"]

_log = logging.getLogger(__name__)
# Between an order to yield and the end of the drain: to kill what does not end, and to say so.
SPARE_S = 3.0
PROCESS, RAY = "process", "ray"
_ORDERS = {job_pb2.WANTED_PAUSE: Order.PAUSE, job_pb2.WANTED_CANCEL: Order.CANCEL}
_STOPPED = pb.ReleaseJobRequest(outcome=pb.OUTCOME_STOPPED)
_YIELDED = pb.ReleaseJobRequest(outcome=pb.OUTCOME_YIELDED)


@dataclass(frozen=True, slots=True)
class ChildLimits:
    """What a child may use: `memory_bytes` 0 is all there is. `artifact` is where it pushes to. `command` runs jobs of
    the executor `process`, `ray_command` those of `ray`; empty: there is no Ray."""

    artifact: str
    threads: int
    memory_bytes: int
    heartbeat_s: float = HEARTBEAT_S
    command: tuple[str, ...] = CHILD
    ray_command: tuple[str, ...] = ()


class Attempt:
    """`run` once; `give_up` from the same loop."""

    def __init__(
        self,
        service: "rpc.TrainerServiceAsyncStub",
        fetches: Fetches,
        limits: ChildLimits,
        lease: pb.Lease,
        folder: Path,
    ) -> None:
        self._fetches = fetches
        self._limits = limits
        self._lease = lease
        self._folder = folder
        self._principal = PrincipalFile(folder / PRINCIPAL)
        self._renewing = Renewing(service, lease, self._principal, self._heed, limits.heartbeat_s)
        self._order = Order.RUN
        self._child: ChildProcess | None = None
        self._fetching_ends = threading.Event()

    async def run(self) -> None:
        """Work on the job until it is released, or its lease lost. Leaves no process behind."""
        working = asyncio.create_task(self._work(), name="work")
        renewing = asyncio.create_task(self._renewing.run(), name="renew")
        try:
            await asyncio.wait((working, renewing), return_when=asyncio.FIRST_COMPLETED)
            if working.done():
                renewing.cancel()
                await asyncio.wait((renewing,))
                await self._renewing.release(working.result())
            else:
                renewing.result()  # it ends by raising alone
        except LeaseLost:
            _log.warning("the lease of %s, epoch %d, is lost", self._lease.job.name, self._lease.epoch)
        finally:
            self._fetching_ends.set()
            if self._child is not None:
                self._child.kill()
            for task in (working, renewing):
                task.cancel()
            await asyncio.gather(working, renewing, return_exceptions=True)

    async def give_up(self, within_s: float) -> None:
        """The agent ends: a checkpoint, if the child manages one in time, and the job is somebody else's to go on."""
        self._heed_order(Order.YIELD)
        await asyncio.sleep(max(0.0, within_s - SPARE_S))
        if self._child is not None:
            self._child.kill()

    @property
    def _is_elsewhere(self) -> bool:
        """Whether it is trained on other machines, which fetch for themselves."""
        return self._lease.job.spec.executor == RAY

    def _heed(self, wanted: job_pb2.Wanted.ValueType) -> None:
        if wanted in _ORDERS:
            self._heed_order(_ORDERS[wanted])

    def _heed_order(self, order: Order) -> None:
        if order is self._order:
            return
        self._order = order
        self._fetching_ends.set()
        if self._child is not None:
            self._child.tell(order)

    async def _work(self) -> pb.ReleaseJobRequest:
        """How it ended, as far as this agent can tell."""
        try:
            async with self._fetched() as fetched:
                if self._order is not Order.RUN:
                    return self._ended()
                return await self._train(fetched)
        except GivenUp:
            return self._ended()
        except (ZooError, OSError) as error:
            failure = failure_of(error)
            self._renewing.log(failure.message, event_pb2.SEVERITY_ERROR)
            return pb.ReleaseJobRequest(outcome=failure.outcome, reason=failure.reason, message=failure.message)

    @asynccontextmanager
    async def _fetched(self) -> AsyncGenerator[Fetched]:
        if self._is_elsewhere:
            yield NOTHING
            return
        self._renewing.log(f"Fetching {self._lease.base.reference} and {self._lease.dataset.reference}.")
        holding = self._fetches.hold(self._lease, self._principal, self._fetching_ends)
        fetched = await asyncio.to_thread(holding.__enter__)
        try:
            if fetched.lost:
                self._renewing.log(
                    f"The last checkpoint is not there any more ({fetched.lost}); training begins again at step 0.",
                    event_pb2.SEVERITY_WARNING,
                )
            yield fetched
        finally:
            await asyncio.to_thread(holding.__exit__, None, None, None)

    async def _train(self, fetched: Fetched) -> pb.ReleaseJobRequest:
        place = Place(
            base=str(fetched.base),
            dataset=str(fetched.dataset),
            checkpoint=str(fetched.checkpoint or ""),
            artifact=self._limits.artifact,
            threads=self._limits.threads,
            memory_bytes=self._limits.memory_bytes,
        )
        write_task(Task(self._lease, place, self._folder))
        self._renewing.log("Starting a process for it; torch takes some seconds to load.")
        command = self._limits.ray_command if self._is_elsewhere else self._limits.command
        child = self._child = await ChildProcess.start(command, self._folder, self._limits.threads)
        try:
            if self._order is not Order.RUN:  # it came while the child was starting
                child.tell(self._order)
            release: pb.ReleaseJobRequest | None = None
            async for message in child.messages():
                if isinstance(message, event_pb2.Event):
                    self._renewing.add(message)
                else:
                    release = message
            how = await child.wait()
        finally:
            child.kill()
        return release or self._crashed(child, how)

    def _crashed(self, child: ChildProcess, how: str) -> pb.ReleaseJobRequest:
        if self._order is not Order.RUN:
            return self._ended()
        if said := child.said():
            self._renewing.log(said, event_pb2.SEVERITY_ERROR)
        message = f"The training process {how}. It is tried again from the last checkpoint, as often as the job allows."
        return pb.ReleaseJobRequest(outcome=pb.OUTCOME_FAILED, reason="TRAINER_CRASHED", message=message)

    def _ended(self) -> pb.ReleaseJobRequest:
        return _YIELDED if self._order is Order.YIELD else _STOPPED
