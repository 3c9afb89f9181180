"""WorkerService: the picture of the workers, each caller seeing the models of its own namespaces."""

from typing import Any

import grpc

from modelzoo.reference import parse
from zoo.inference.v1 import worker_service_pb2 as pb
from zoo.inference.v1 import worker_service_pb2_grpc as rpc
from zoo_gateway.workers import Workers
from zoo_server.authorization import Open, Rules
from zoo_server.call import current_principal
from zoo_server.principal import Principal, Role
from zoo_store.presence import WorkerPresence

__all__ = ["RULES", "SERVICE", "WorkerServicer"]

SERVICE = "zoo.inference.v1.WorkerService"
RULES: Rules = {f"/{SERVICE}/ListWorkers": Open.TO_AUTHENTICATED}

Context = grpc.aio.ServicerContext[Any, Any]


class WorkerServicer(rpc.WorkerServiceServicer):
    def __init__(self, workers: Workers) -> None:
        self._workers = workers

    async def ListWorkers(self, request: pb.ListWorkersRequest, context: Context) -> pb.ListWorkersResponse:
        principal = current_principal()
        return pb.ListWorkersResponse(workers=[to_pb(w.said, principal) for w in self._workers.all() if w.confirmed])


def to_pb(worker: WorkerPresence, viewer: Principal) -> pb.Worker:
    message = pb.Worker(
        name=worker.name,
        resource_class=worker.resource_class,
        running=worker.running,
        queued=worker.queued,
        capacity=worker.capacity,
        used_bytes=worker.used_bytes,
        budget_bytes=worker.budget_bytes,
        draining=worker.draining,
        models=[
            pb.LoadedModel(
                reference=model.reference,
                manifest_digest=model.manifest_digest,
                loading=model.loading,
                size_bytes=model.size_bytes,
                base_manifest_digest=model.base_manifest_digest,
            )
            for model in worker.models
            if viewer.has(Role.VIEWER, parse(model.reference).namespace)
        ],
    )
    message.start_time.FromMilliseconds(round(worker.start_time * 1000))
    return message
