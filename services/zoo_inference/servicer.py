"""InferenceService on the wire."""

from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Any

import grpc
from google.protobuf.duration_pb2 import Duration

from zoo.inference.v1 import generation_pb2 as pb
from zoo.inference.v1 import inference_service_pb2 as service_pb
from zoo.inference.v1 import inference_service_pb2_grpc as rpc
from zoo_inference.engine import FinishReason
from zoo_inference.inference import Embedded, Ended, Inference
from zoo_inference.requests import check_texts, generation_from_pb

__all__ = ["InferenceServicer"]

Context = grpc.aio.ServicerContext[Any, Any]

_REASONS = {
    FinishReason.STOP: pb.FINISH_REASON_STOP,
    FinishReason.LENGTH: pb.FINISH_REASON_LENGTH,
}


class InferenceServicer(rpc.InferenceServiceServicer):
    def __init__(self, inference: Inference) -> None:
        self._inference = inference

    async def Generate(self, request: service_pb.GenerateRequest, context: Context) -> service_pb.GenerateResponse:
        response = service_pb.GenerateResponse()
        pieces: list[str] = []
        async with aclosing(self._inference.generate(request.model, generation_from_pb(request.input))) as outputs:
            async for output in outputs:
                if isinstance(output, str):
                    pieces.append(output)
                else:
                    response.finish.CopyFrom(_finish_to_pb(output))
        response.text = "".join(pieces)
        return response

    async def StreamGenerate(
        self, request: service_pb.StreamGenerateRequest, context: Context
    ) -> AsyncIterator[service_pb.StreamGenerateResponse]:
        async with aclosing(self._inference.generate(request.model, generation_from_pb(request.input))) as outputs:
            async for output in outputs:
                if isinstance(output, str):
                    yield service_pb.StreamGenerateResponse(text=output)
                else:
                    yield service_pb.StreamGenerateResponse(finish=_finish_to_pb(output))

    async def Embed(self, request: service_pb.EmbedRequest, context: Context) -> service_pb.EmbedResponse:
        texts = tuple(request.texts)
        check_texts(texts)
        return _embedded_to_pb(await self._inference.embed(request.model, texts))


def _finish_to_pb(ended: Ended) -> pb.Finish:
    finished = ended.finished
    return pb.Finish(
        reason=_REASONS[finished.reason],
        usage=pb.Usage(input_tokens=finished.input_tokens, output_tokens=finished.output_tokens),
        timings=pb.Timings(
            queue=_duration(finished.queue_s),
            prefill=_duration(finished.prefill_s),
            decode=_duration(finished.decode_s),
        ),
        reference=ended.version.reference,
        manifest_digest=ended.version.manifest_digest,
    )


def _embedded_to_pb(embedded: Embedded) -> service_pb.EmbedResponse:
    return service_pb.EmbedResponse(
        embeddings=[service_pb.Embedding(values=vector) for vector in embedded.vectors],
        usage=pb.Usage(input_tokens=embedded.input_tokens),
        reference=embedded.version.reference,
        manifest_digest=embedded.version.manifest_digest,
    )


def _duration(seconds: float) -> Duration:
    duration = Duration()
    duration.FromMicroseconds(round(seconds * 1e6))
    return duration
