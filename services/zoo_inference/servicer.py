"""InferenceService on the wire."""

from collections.abc import AsyncIterator, Sequence
from contextlib import aclosing
from typing import Any

import grpc
from google.protobuf.duration_pb2 import Duration

from modelzoo.tasks.results import Detection, LabelScore, Segment
from zoo.inference.v1 import base_pb2 as base_pb
from zoo.inference.v1 import classification_pb2 as classification_pb
from zoo.inference.v1 import generation_pb2 as pb
from zoo.inference.v1 import inference_service_pb2 as service_pb
from zoo.inference.v1 import inference_service_pb2_grpc as rpc
from zoo_inference.catalog import Version
from zoo_inference.engine import FinishReason
from zoo_inference.inference import Answer, Embedded, Ended, Inference
from zoo_inference.requests import (
    check_texts,
    generation_from_pb,
    max_detections,
    picture_from_pb,
    sound_from_pb,
    threshold,
    top_k,
)

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
        check_texts(request.texts)
        return _embedded_to_pb(await self._inference.embed(request.model, tuple(request.texts)))

    async def ClassifyText(
        self, request: service_pb.ClassifyTextRequest, context: Context
    ) -> service_pb.ClassifyTextResponse:
        check_texts(request.texts)
        answer = await self._inference.classify_texts(request.model, tuple(request.texts), top_k(request))
        return service_pb.ClassifyTextResponse(
            classifications=[_classification_to_pb(labels) for labels in answer.result.labels],
            usage=pb.Usage(input_tokens=answer.result.input_tokens),
            computed=_computed_to_pb(answer),
        )

    async def ClassifyImage(
        self, request: service_pb.ClassifyImageRequest, context: Context
    ) -> service_pb.ClassifyImageResponse:
        answer = await self._inference.classify_image(request.model, picture_from_pb(request), top_k(request))
        return service_pb.ClassifyImageResponse(
            classification=_classification_to_pb(answer.result), computed=_computed_to_pb(answer)
        )

    async def DetectObjects(
        self, request: service_pb.DetectObjectsRequest, context: Context
    ) -> service_pb.DetectObjectsResponse:
        answer = await self._inference.detect_objects(
            request.model, picture_from_pb(request), threshold(request), max_detections(request)
        )
        return service_pb.DetectObjectsResponse(
            detections=[_detection_to_pb(detection) for detection in answer.result.detections],
            width=answer.result.width,
            height=answer.result.height,
            computed=_computed_to_pb(answer),
        )

    async def Transcribe(
        self, request: service_pb.TranscribeRequest, context: Context
    ) -> service_pb.TranscribeResponse:
        answer = await self._inference.transcribe(request.model, sound_from_pb(request), request.language)
        transcript = answer.result.transcript
        return service_pb.TranscribeResponse(
            text=transcript.text,
            segments=[_segment_to_pb(segment) for segment in transcript.segments],
            duration=_duration(answer.result.duration_s),
            usage=pb.Usage(output_tokens=transcript.tokens),
            computed=_computed_to_pb(answer),
        )


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
        base=_base_to_pb(ended.version),
    )


def _embedded_to_pb(answer: Answer[Embedded]) -> service_pb.EmbedResponse:
    return service_pb.EmbedResponse(
        embeddings=[service_pb.Embedding(values=vector) for vector in answer.result.vectors],
        usage=pb.Usage(input_tokens=answer.result.input_tokens),
        reference=answer.version.reference,
        manifest_digest=answer.version.manifest_digest,
        base=_base_to_pb(answer.version),
    )


def _base_to_pb(version: Version) -> base_pb.Base | None:
    base = version.base
    return None if base is None else base_pb.Base(reference=base.reference, manifest_digest=base.manifest_digest)


def _classification_to_pb(labels: Sequence[LabelScore]) -> classification_pb.Classification:
    return classification_pb.Classification(labels=[_label_to_pb(label) for label in labels])


def _label_to_pb(label: LabelScore) -> classification_pb.LabelScore:
    return classification_pb.LabelScore(label=label.label, score=label.score, index=label.index)


def _detection_to_pb(detection: Detection) -> classification_pb.Detection:
    box = detection.box
    return classification_pb.Detection(
        label=_label_to_pb(detection.label),
        box=classification_pb.Box(x_min=box.x_min, y_min=box.y_min, x_max=box.x_max, y_max=box.y_max),
    )


def _segment_to_pb(segment: Segment) -> classification_pb.Segment:
    return classification_pb.Segment(text=segment.text, start=_duration(segment.start_s), end=_duration(segment.end_s))


def _computed_to_pb(answer: Answer[Any]) -> classification_pb.Computed:
    return classification_pb.Computed(
        reference=answer.version.reference,
        manifest_digest=answer.version.manifest_digest,
        base=_base_to_pb(answer.version),
        queue=_duration(answer.queue_s),
        compute=_duration(answer.compute_s),
    )


def _duration(seconds: float) -> Duration:
    duration = Duration()
    duration.FromMicroseconds(round(seconds * 1e6))
    return duration
