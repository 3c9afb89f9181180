"""A trainer that leases and trains nothing: as a process of its own that waits, and as calls of whoever measures.

python -m benchmarks.leasing_agent ADDRESS IDENTITY    leases for ever; prints `JOB NANOSECONDS` of each lease
"""

import asyncio
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from zoo.training.v1 import trainer_service_pb2 as pb
from zoo.training.v1 import trainer_service_pb2_grpc as rpc
from zoo_server.peers import open_peer
from zoo_server.principal import Signer
from zoo_trainer.agent import CALL_S, LEASE_WAIT_S
from zoo_trainer.recipes import find_recipe

__all__ = ["RECIPE", "RESOURCE_CLASS", "LeasingAgent", "open_agent"]

# One that the cluster's own trainer has not.
RESOURCE_CLASS = "bench"
RECIPE = "text-classification"


class LeasingAgent:
    """Registered; `lease` and `finish` as often as wanted."""

    def __init__(self, service: "rpc.TrainerServiceAsyncStub", name: str) -> None:
        self._service = service
        self._name = name

    async def lease(self) -> pb.Lease | None:
        request = pb.LeaseJobRequest(trainer=self._name)
        request.wait.FromSeconds(LEASE_WAIT_S)
        response = await self._service.LeaseJob(request, timeout=LEASE_WAIT_S + CALL_S)
        return response.lease if response.HasField("lease") else None

    async def finish(self, lease: pb.Lease) -> None:
        """It fails for good: the job is final, and nothing is published."""
        await self._service.ReleaseJob(
            pb.ReleaseJobRequest(
                job=lease.job.name,
                epoch=lease.epoch,
                outcome=pb.OUTCOME_HOPELESS,
                reason="DATASET_UNSUITABLE",
                message="It was made to be leased.",
            ),
            timeout=CALL_S,
        )


@asynccontextmanager
async def open_agent(address: str, identity: Path, name: str) -> AsyncIterator[LeasingAgent]:
    async with open_peer(address, Signer.load(identity)) as channel:
        service: rpc.TrainerServiceAsyncStub = rpc.TrainerServiceStub(channel)
        await service.RegisterTrainer(
            pb.RegisterTrainerRequest(
                trainer=name,
                host="here",
                resource_class=RESOURCE_CLASS,
                recipes=[find_recipe(RECIPE).describe()],
                executors=["process"],
            ),
            timeout=CALL_S,
        )
        yield LeasingAgent(service, name)


async def _lease_for_ever(address: str, identity: Path) -> None:
    async with open_agent(address, identity, "waiting-agent") as agent:
        print("ready", flush=True)
        while True:
            lease = await agent.lease()
            if lease is not None:
                # The same clock in all processes of a machine.
                print(lease.job.name, time.monotonic_ns(), flush=True)
                await agent.finish(lease)
                print("finished", lease.job.name, flush=True)


if __name__ == "__main__":
    asyncio.run(_lease_for_ever(sys.argv[1], Path(sys.argv[2])))
