"""Keeps a lease: renews it in time, hands events over, hears what is wanted."""

import asyncio
from collections.abc import Callable

import grpc

from modelzoo.errors import Aborted, NotFound, OutOfRange, ZooError, from_rpc_error
from zoo.training.v1 import event_pb2, job_pb2
from zoo.training.v1 import trainer_service_pb2 as pb
from zoo.training.v1 import trainer_service_pb2_grpc as rpc
from zoo_trainer.credential import PrincipalFile
from zoo_trainer.outbox import EVENTS_MAX, Outbox

__all__ = ["LeaseLost", "Renewing"]

HEARTBEAT_S = 10.0
# Events are handed over at once, and no more often than this.
PAUSE_S = 0.5
CALL_S = 10.0


class LeaseLost(Exception):
    """The job is somebody else's, or nobody's, by now."""


class Renewing:
    """Of one lease. A service that is away is waited for: the lease may well be there when it comes back, and what is
    done without one is refused by its epoch and its principal."""

    def __init__(
        self,
        service: "rpc.TrainerServiceAsyncStub",
        lease: pb.Lease,
        principal: PrincipalFile,
        wanted: Callable[[job_pb2.Wanted.ValueType], None],
        heartbeat_s: float = HEARTBEAT_S,
    ) -> None:
        self._service = service
        self._job, self._epoch = lease.job.name, lease.epoch
        self._principal = principal
        self._wanted = wanted
        self._heartbeat_s = heartbeat_s
        self._outbox = Outbox(lease.next_event)
        self._some = asyncio.Event()
        principal.write(lease.principal)

    def add(self, event: event_pb2.Event) -> None:
        self._outbox.add(event)
        self._some.set()

    def log(self, text: str, severity: event_pb2.Severity.ValueType = event_pb2.SEVERITY_INFO) -> None:
        self.add(event_pb2.Event(log=event_pb2.Log(severity=severity, text=text)))

    async def run(self) -> None:
        """Until it is cancelled. Raises LeaseLost."""
        while True:
            await self._renew()
            if len(self._outbox):
                await asyncio.sleep(PAUSE_S)
                continue
            self._some.clear()
            try:
                async with asyncio.timeout(self._heartbeat_s):
                    await self._some.wait()
                await asyncio.sleep(PAUSE_S)  # more may come with it
            except TimeoutError:
                pass

    async def release(self, release: pb.ReleaseJobRequest) -> None:
        """Hand over all events and how the attempt ended; repeated until the service has it. Raises LeaseLost."""
        while True:
            if len(self._outbox) > EVENTS_MAX:
                await self._renew()
                continue
            request = pb.ReleaseJobRequest()
            request.CopyFrom(release)
            request.job, request.epoch, request.first_event = self._job, self._epoch, self._outbox.first
            request.events.extend(self._outbox.batch())
            try:
                await self._service.ReleaseJob(request, timeout=CALL_S)
            except grpc.aio.AioRpcError as error:
                await self._bear(from_rpc_error(error))
            else:
                return

    async def _renew(self) -> None:
        events = self._outbox.batch()
        request = pb.RenewJobRequest(job=self._job, epoch=self._epoch, events=events, first_event=self._outbox.first)
        try:
            response = await self._service.RenewJob(request, timeout=CALL_S)
        except grpc.aio.AioRpcError as error:
            await self._bear(from_rpc_error(error))
            return
        self._outbox.taken(len(events))
        self._principal.write(response.principal)
        self._wanted(response.wanted)

    async def _bear(self, error: ZooError) -> None:
        """What can be borne of an answer: a service that is away, events that it has already."""
        if isinstance(error, Aborted | NotFound):
            raise LeaseLost from error
        if isinstance(error, OutOfRange) and not self._outbox.move_to(int(error.metadata.get("next", "0"))):
            raise LeaseLost from error
        await asyncio.sleep(PAUSE_S)
