"""Compose the gateway's deciding half and run it until a signal."""

import asyncio
from contextlib import AsyncExitStack, suppress
from importlib.metadata import version

from zoo.description.v1 import description_service_pb2_grpc as description_rpc
from zoo.inference.v1 import worker_service_pb2_grpc as worker_rpc
from zoo_gateway import description_servicer, ext_proc, reflection, worker_servicer
from zoo_gateway.access_watch import watch_access
from zoo_gateway.choose import Chooser
from zoo_gateway.description_servicer import DescriptionServicer
from zoo_gateway.endpoints import EndpointsFile
from zoo_gateway.identity import Identity
from zoo_gateway.picker import Picker
from zoo_gateway.routes import Routes, load_descriptors
from zoo_gateway.settings import GatewaySettings
from zoo_gateway.worker_servicer import WorkerServicer
from zoo_gateway.workers import Workers, watch_workers
from zoo_server.log import configure_logging
from zoo_server.principal import Signer
from zoo_server.server import build
from zoo_store.presence import open_presence

__all__ = ["main"]

PICTURE_WAIT_S = 2.0


async def serve(settings: GatewaySettings) -> None:
    descriptors = load_descriptors()
    signer = Signer.load(settings.identity)
    workers, identity = Workers(), Identity(signer)
    chooser = Chooser(workers.all)
    endpoints = EndpointsFile(settings.endpoints_dir)
    endpoints.ensure()

    def changed() -> None:
        chooser.reported()
        endpoints.write(worker.said.address for worker in workers.all())

    rules = {**ext_proc.RULES, **reflection.RULES, **worker_servicer.RULES, **description_servicer.RULES}
    server = build(settings, rules)
    ext_proc.register(server.grpc, Picker(Routes(descriptors), identity, chooser).process)
    reflection.register_reflection(server.grpc, descriptors)
    worker_rpc.add_WorkerServiceServicer_to_server(WorkerServicer(workers), server.grpc)
    description = DescriptionServicer(descriptors, version("modelzoo"))
    description_rpc.add_DescriptionServiceServicer_to_server(description, server.grpc)
    async with AsyncExitStack() as stack:
        presence = await stack.enter_async_context(open_presence(settings.redis_url))
        tasks = await stack.enter_async_context(asyncio.TaskGroup())
        watches = [
            tasks.create_task(watch_access(settings.catalog, signer, identity)),
            tasks.create_task(watch_workers(presence, workers, changed)),
        ]
        # Serving before there is a picture would refuse the first calls; without the others we serve all the same.
        with suppress(TimeoutError):
            async with asyncio.timeout(PICTURE_WAIT_S):
                await identity.known.wait()
                await workers.known.wait()
        await server.run((worker_servicer.SERVICE, description_servicer.SERVICE))
        for watch in watches:
            watch.cancel()


def main() -> None:
    settings = GatewaySettings()  # pyright: ignore[reportCallIssue] - from the environment
    configure_logging(settings.log_level)
    asyncio.run(serve(settings))


if __name__ == "__main__":
    main()
