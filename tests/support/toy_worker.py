"""A fake worker, a process of its own: speaks zoo.inference.v1 behind the real server pipeline and announces itself.

    python -m support.toy_worker NAME [MODEL ...]          settings: ZOO_TRUST, ZOO_REDIS_URL

It prints its port when it serves. `Embed` answers as many vectors as texts and, as the reference, which worker it is
and what metadata it saw, as JSON. `StreamGenerate` makes `max_tokens` pieces and fails after as many as `prompt` says.
"""

import asyncio
import json
import os
import sys
import time
from contextlib import suppress

from modelzoo.errors import Unavailable
from zoo.inference.v1 import generation_pb2, inference_service_pb2_grpc
from zoo.inference.v1 import inference_service_pb2 as pb
from zoo_server.authorization import Open
from zoo_server.server import build
from zoo_server.settings import ServerSettings
from zoo_store.presence import LoadedModel, WorkerPresence, open_presence

SERVICE = "zoo.inference.v1.InferenceService"
METHODS = pb.DESCRIPTOR.services_by_name["InferenceService"].methods_by_name
RULES = {f"/{SERVICE}/{method}": Open.TO_AUTHENTICATED for method in METHODS}
PACE_S = 0.02
ANNOUNCE_S = 1.0


class ToyInferenceServicer(inference_service_pb2_grpc.InferenceServiceServicer):
    def __init__(self, name: str) -> None:
        self._name = name

    async def Embed(self, request, context):
        seen = {k: v for k, v in context.invocation_metadata() if isinstance(v, str)}
        reference = json.dumps({"worker": self._name, "seen": seen})
        return pb.EmbedResponse(embeddings=[pb.Embedding(values=[1.0])] * len(request.texts), reference=reference)

    async def StreamGenerate(self, request, context):
        fails_after = int(request.input.prompt) if request.input.prompt.isdigit() else None
        for i in range(request.input.max_tokens):
            if i == fails_after:
                raise Unavailable("ENGINE_FAILED", "the engine failed: retry")
            yield pb.StreamGenerateResponse(text=f"{i} ")
            await asyncio.sleep(PACE_S)
        yield pb.StreamGenerateResponse(finish=generation_pb2.Finish(reason=generation_pb2.FINISH_REASON_LENGTH))


async def serve(name: str, models: list[str]) -> None:
    server = build(ServerSettings(), RULES)
    inference_service_pb2_grpc.add_InferenceServiceServicer_to_server(ToyInferenceServicer(name), server.grpc)
    await server.start((SERVICE,))
    said = WorkerPresence(
        name,
        f"127.0.0.1:{server.port}",
        "cpu",
        time.time(),
        capacity=1000,
        models=tuple(LoadedModel(model, "ab" * 32) for model in models),
    )
    print(server.port, flush=True)
    async with open_presence(os.environ["ZOO_REDIS_URL"]) as presence:
        while True:
            with suppress(Unavailable):
                await presence.announce(said)
            await asyncio.sleep(ANNOUNCE_S)


if __name__ == "__main__":
    asyncio.run(serve(sys.argv[1], sys.argv[2:]))
