"""The agent: says what it can do, leases a job at a time, works on it, and gives it back when it has to end."""

import asyncio
import logging
import random
from collections.abc import Coroutine
from typing import Any

import grpc

from modelzoo.errors import FailedPrecondition, from_rpc_error
from zoo.training.v1 import trainer_service_pb2 as pb
from zoo.training.v1 import trainer_service_pb2_grpc as rpc
from zoo_trainer.attempt import Attempt, ChildLimits
from zoo_trainer.fetching import Fetches
from zoo_trainer.workspace import Workspace

__all__ = ["Agent"]

_log = logging.getLogger(__name__)

REGISTER_S = 60.0
CALL_S = 10.0
LEASE_WAIT_S = 30
# A service that is away is asked again after a while that is not the same for all agents.
PAUSE_S = (0.5, 2.0)


class Agent:
    """Works on one job at a time. `run` it; `drain` ends it."""

    def __init__(
        self,
        service: "rpc.TrainerServiceAsyncStub",
        fetches: Fetches,
        limits: ChildLimits,
        workspace: Workspace,
        registration: pb.RegisterTrainerRequest,
        drain_s: float,
    ) -> None:
        self._service = service
        self._fetches = fetches
        self._limits = limits
        self._workspace = workspace
        self._registration = registration
        self._drain_s = drain_s
        self._draining = asyncio.Event()
        self._attempt: Attempt | None = None
        self._idle = asyncio.Event()
        self._idle.set()

    async def run(self) -> None:
        """Until it drains."""
        registering = asyncio.create_task(self._keep_registering())
        try:
            while not self._draining.is_set():
                lease = await self._unless_draining(self._lease())
                if lease is not None:
                    await self._work(lease)
        finally:
            registering.cancel()
            await asyncio.gather(registering, return_exceptions=True)

    async def drain(self) -> None:
        """Take nothing more; return when the job in hand is released, or the time for it is over."""
        self._draining.set()
        attempt = self._attempt
        if attempt is None:
            return
        giving_up = asyncio.create_task(attempt.give_up(self._drain_s))
        try:
            async with asyncio.timeout(self._drain_s):
                await self._idle.wait()
        except TimeoutError:
            _log.warning("the job in hand could not be released in %g s", self._drain_s)
        finally:
            giving_up.cancel()

    async def _work(self, lease: pb.Lease) -> None:
        _log.info("leased %s, epoch %d", lease.job.name, lease.epoch)
        self._idle.clear()
        try:
            with self._workspace.folder(f"{lease.job.name}-{lease.epoch}") as folder:
                self._attempt = Attempt(self._service, self._fetches, self._limits, lease, folder)
                if self._draining.is_set():  # it began while the lease was on its way
                    giving_up = asyncio.create_task(self._attempt.give_up(self._drain_s))
                    await self._attempt.run()
                    giving_up.cancel()
                else:
                    await self._attempt.run()
        finally:
            self._attempt = None
            self._idle.set()

    async def _lease(self) -> pb.Lease | None:
        request = pb.LeaseJobRequest(trainer=self._registration.trainer)
        request.wait.FromSeconds(LEASE_WAIT_S)
        try:
            response = await self._service.LeaseJob(request, timeout=LEASE_WAIT_S + CALL_S)
        except grpc.aio.AioRpcError as error:
            known = from_rpc_error(error)
            if isinstance(known, FailedPrecondition):  # the service has forgotten, or never heard of, this trainer
                await self._register()
            else:
                _log.warning("no lease: %s", known.message)
            await asyncio.sleep(random.uniform(*PAUSE_S))  # noqa: S311 - to spread calls
            return None
        return response.lease if response.HasField("lease") else None

    async def _unless_draining(self, leasing: Coroutine[Any, Any, pb.Lease | None]) -> pb.Lease | None:
        """The lease, or None as soon as draining begins."""
        asking = asyncio.create_task(leasing)
        draining = asyncio.create_task(self._draining.wait())
        await asyncio.wait((asking, draining), return_when=asyncio.FIRST_COMPLETED)
        draining.cancel()
        if not asking.done():
            asking.cancel()
            await asyncio.gather(asking, return_exceptions=True)
        return None if asking.cancelled() else asking.result()

    async def _keep_registering(self) -> None:
        while True:
            await self._register()
            await asyncio.sleep(REGISTER_S)

    async def _register(self) -> None:
        try:
            await self._service.RegisterTrainer(self._registration, timeout=CALL_S)
        except grpc.aio.AioRpcError as error:
            _log.warning("not registered: %s", from_rpc_error(error).message)
