"""The process `zoo-worker`: composition, and nothing else."""

import asyncio
import os
from contextlib import AsyncExitStack

# Before transformers is imported: a worker fetches nothing but through the artifact service.
os.environ["HF_HUB_OFFLINE"] = "1"
# Before torch is: threads that wait must sleep. Spinning, they take the cores from those they wait for as soon as
# anything else runs on the machine (docs/adr/0005-a-decode-loop-of-our-own.md).
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
# Tokenizers otherwise share a few threads in the process, and one that never ends holds up all models' texts.
os.environ["TOKENIZERS_PARALLELISM"] = "false"

import torch
from transformers.utils import logging as transformers_logging

from modelzoo.cache import NodeCache
from zoo.inference.v1 import inference_service_pb2_grpc as rpc
from zoo_inference.catalog import GrpcCatalog
from zoo_inference.loader import Loader, PulledSource
from zoo_inference.presence import Announcer
from zoo_inference.rules import RULES, SERVICE
from zoo_inference.scrubbing import Scrubber
from zoo_inference.servicer import InferenceServicer
from zoo_inference.settings import Settings
from zoo_inference.signed import GrpcSignatures, SignedCatalog
from zoo_inference.worker import Worker, WorkerLimits
from zoo_server.log import configure_logging
from zoo_server.peers import open_peer, open_sync_peer
from zoo_server.principal import Signer
from zoo_server.server import build
from zoo_store.presence import WorkerPresence, open_presence

__all__ = ["main"]


def main() -> None:
    settings = Settings()  # pyright: ignore[reportCallIssue] - the environment gives the rest
    configure_logging(settings.log_level)
    torch.set_num_threads(settings.threads)
    transformers_logging.disable_progress_bar()
    asyncio.run(serve(settings))


async def serve(settings: Settings) -> None:
    signer = Signer.load(settings.identity)
    async with AsyncExitStack() as stack:
        presence = await stack.enter_async_context(open_presence(settings.redis_url))
        catalog = await stack.enter_async_context(open_peer(settings.catalog, signer))
        artifact = stack.enter_context(open_sync_peer(settings.artifact, signer))
        cache = NodeCache(settings.cache_dir, settings.cache_bytes)
        source = PulledSource(artifact, cache)
        loader = Loader(source, settings.batch_requests, settings.batch_memory_bytes)
        limits = WorkerLimits(settings.queue, settings.memory_bytes)
        signed = SignedCatalog(GrpcCatalog(catalog), GrpcSignatures(catalog, artifact))
        worker = Worker(signed, loader, limits, settings.resource_class)
        stack.push_async_callback(worker.residency.close)
        stack.push_async_callback(worker.inference.close)
        server = build(settings, RULES)
        rpc.add_InferenceServiceServicer_to_server(InferenceServicer(worker.inference), server.grpc)

        def describe() -> WorkerPresence | None:
            host = settings.listen.rpartition(":")[0]
            return worker.describe(settings.advertise or f"{host}:{server.port}") if server.port else None

        announcer = Announcer(presence, describe)
        worker.on_change = announcer.change
        async with asyncio.TaskGroup() as tasks:
            announcing = tasks.create_task(announcer.run())
            scrubbing = tasks.create_task(Scrubber(cache, lambda: worker.admission.running == 0).run())
            patrolling = tasks.create_task(worker.patrol.run())
            await server.run((SERVICE,), on_drain=worker.drain)
            announcing.cancel()
            patrolling.cancel()
            scrubbing.cancel()


if __name__ == "__main__":
    main()
