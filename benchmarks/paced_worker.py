"""A worker without a model: it streams messages at a steady pace, each carrying the moment it was sent.

Runs as a process of its own, `python -m benchmarks.paced_worker`, and prints its address when it serves. Measures what
lies between a worker and its caller, with nothing that a model would add. It checks no principal.
"""

import argparse
import asyncio
import os
import time
from collections.abc import AsyncIterator

import grpc

from zoo.inference.v1 import generation_pb2
from zoo.inference.v1 import inference_service_pb2 as pb
from zoo.inference.v1 import inference_service_pb2_grpc as rpc
from zoo_store.presence import LoadedModel, WorkerPresence, open_presence

__all__ = ["MODEL", "PACE_TEXT"]

MODEL = "zoo/paced"
# The request's prompt says the pace: milliseconds between messages.
PACE_TEXT = "{interval_ms}"
ANNOUNCE_EVERY_S = 2.0
CAPACITY = 100_000


class PacedServicer(rpc.InferenceServiceServicer):
    """`text` of each message is the sender's CLOCK_MONOTONIC in nanoseconds, which is one clock for the machine."""

    async def StreamGenerate(
        self, request: pb.StreamGenerateRequest, context: grpc.aio.ServicerContext[pb.StreamGenerateRequest, object]
    ) -> AsyncIterator[pb.StreamGenerateResponse]:
        interval_s = float(request.input.text) / 1000
        due = time.monotonic()
        for _ in range(request.input.max_tokens):
            due += interval_s
            await asyncio.sleep(max(0.0, due - time.monotonic()))
            yield pb.StreamGenerateResponse(text=str(time.monotonic_ns()))
        yield pb.StreamGenerateResponse(finish=generation_pb2.Finish(reason=generation_pb2.FINISH_REASON_LENGTH))

    async def Embed(
        self, request: pb.EmbedRequest, context: grpc.aio.ServicerContext[pb.EmbedRequest, pb.EmbedResponse]
    ) -> pb.EmbedResponse:
        return pb.EmbedResponse(embeddings=[pb.Embedding(values=[1.0])])


async def serve(redis_url: str) -> None:
    server = grpc.aio.server()
    rpc.add_InferenceServiceServicer_to_server(PacedServicer(), server)
    address = f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
    await server.start()
    worker = WorkerPresence(
        name=f"paced-{os.getpid()}",
        address=address,
        resource_class="none",
        start_time=time.time(),
        capacity=CAPACITY,
        models=(LoadedModel(f"{MODEL}@1", "0" * 64),),
    )
    async with open_presence(redis_url) as presence:
        await presence.announce(worker)
        print(address, flush=True)
        while True:
            await asyncio.sleep(ANNOUNCE_EVERY_S)
            await presence.announce(worker)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m benchmarks.paced_worker", description=__doc__)
    parser.parse_args()
    # By environment: the URL has a password in it.
    asyncio.run(serve(os.environ["ZOO_REDIS_URL"]))
