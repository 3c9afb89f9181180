"""Stand-ins for the inference and worker services: they answer what a test told them to."""

import threading
from collections.abc import Iterator, Sequence
from typing import Any

import grpc
from google.protobuf.duration_pb2 import Duration

from modelzoo.errors import ZooError, to_status
from zoo.inference.v1 import classification_pb2, generation_pb2, inference_service_pb2, worker_service_pb2
from zoo.inference.v1 import inference_service_pb2 as pb

__all__ = ["FakeInference"]

FINISH = generation_pb2.Finish(
    reason=generation_pb2.FINISH_REASON_STOP,
    usage=generation_pb2.Usage(input_tokens=3, output_tokens=2),
    reference="team/chat@1",
    manifest_digest="0" * 64,
)
COMPUTED = classification_pb2.Computed(
    reference="team/vision@1",
    manifest_digest="0" * 64,
    queue=Duration(nanos=250_000_000),
    compute=Duration(seconds=1, nanos=500_000_000),
)


class FakeInference:
    """Streams `pieces`, then ends as told: with `finish`, with `failing`, or with neither. `stall` waits before the
    end until the caller has gone; `gone` is set when it has. Classifying gives `labels` and names the last one after
    the length of the input; a picture has one of them at `box`; `pieces` are also the segments of a transcript, a
    second each."""

    def __init__(self) -> None:
        self.pieces: Sequence[str] = ("Par", "is.")
        self.finish: generation_pb2.Finish | None = FINISH
        self.failing: ZooError | tuple[grpc.StatusCode, str] | None = None
        self.stall = False
        self.gone = threading.Event()
        self.labels: Sequence[tuple[str, float]] = (("palace", 0.75), ("temple", 0.2))
        self.box = (10.0, 20.0, 60.0, 50.0)
        self.seen: list[Any] = []
        self.metadata: dict[str, str] = {}

    def handlers(self) -> tuple[grpc.GenericRpcHandler, ...]:
        inference = inference_service_pb2.DESCRIPTOR.services_by_name["InferenceService"].full_name
        workers = worker_service_pb2.DESCRIPTOR.services_by_name["WorkerService"].full_name
        return (
            grpc.method_handlers_generic_handler(
                inference,
                {
                    "StreamGenerate": grpc.unary_stream_rpc_method_handler(
                        self._stream,
                        pb.StreamGenerateRequest.FromString,
                        pb.StreamGenerateResponse.SerializeToString,
                    ),
                    "Generate": grpc.unary_unary_rpc_method_handler(
                        self._generate, pb.GenerateRequest.FromString, pb.GenerateResponse.SerializeToString
                    ),
                    "Embed": grpc.unary_unary_rpc_method_handler(
                        self._embed, pb.EmbedRequest.FromString, pb.EmbedResponse.SerializeToString
                    ),
                    "ClassifyText": grpc.unary_unary_rpc_method_handler(
                        self._classify_text,
                        pb.ClassifyTextRequest.FromString,
                        pb.ClassifyTextResponse.SerializeToString,
                    ),
                    "ClassifyImage": grpc.unary_unary_rpc_method_handler(
                        self._classify_image,
                        pb.ClassifyImageRequest.FromString,
                        pb.ClassifyImageResponse.SerializeToString,
                    ),
                    "DetectObjects": grpc.unary_unary_rpc_method_handler(
                        self._detect, pb.DetectObjectsRequest.FromString, pb.DetectObjectsResponse.SerializeToString
                    ),
                    "Transcribe": grpc.unary_unary_rpc_method_handler(
                        self._transcribe, pb.TranscribeRequest.FromString, pb.TranscribeResponse.SerializeToString
                    ),
                },
            ),
            grpc.method_handlers_generic_handler(
                workers,
                {
                    "ListWorkers": grpc.unary_unary_rpc_method_handler(
                        self._workers,
                        worker_service_pb2.ListWorkersRequest.FromString,
                        worker_service_pb2.ListWorkersResponse.SerializeToString,
                    )
                },
            ),
        )

    def _stream(self, request: Any, context: grpc.ServicerContext) -> Iterator[pb.StreamGenerateResponse]:
        self._note(request, context)
        context.add_callback(self.gone.set)
        for piece in self.pieces:
            yield pb.StreamGenerateResponse(text=piece)
        if self.stall:
            self.gone.wait(30)
        self._fail(context)
        if self.finish is not None:
            yield pb.StreamGenerateResponse(finish=self.finish)

    def _generate(self, request: Any, context: grpc.ServicerContext) -> pb.GenerateResponse:
        self._note(request, context)
        self._fail(context)
        return pb.GenerateResponse(text="".join(self.pieces), finish=self.finish)

    def _embed(self, request: Any, context: grpc.ServicerContext) -> pb.EmbedResponse:
        """[length, 1] for each text."""
        self._note(request, context)
        self._fail(context)
        return pb.EmbedResponse(embeddings=[pb.Embedding(values=[len(text), 1.0]) for text in request.texts])

    def _classify_text(self, request: Any, context: grpc.ServicerContext) -> pb.ClassifyTextResponse:
        self._note(request, context)
        self._fail(context)
        found = [self._labelled(len(text)) for text in request.texts]
        return pb.ClassifyTextResponse(classifications=found, computed=COMPUTED)

    def _classify_image(self, request: Any, context: grpc.ServicerContext) -> pb.ClassifyImageResponse:
        self._note(request, context)
        self._fail(context)
        return pb.ClassifyImageResponse(classification=self._labelled(len(request.image)), computed=COMPUTED)

    def _detect(self, request: Any, context: grpc.ServicerContext) -> pb.DetectObjectsResponse:
        self._note(request, context)
        self._fail(context)
        box = classification_pb2.Box(**dict(zip(("x_min", "y_min", "x_max", "y_max"), self.box, strict=True)))
        found = [
            classification_pb2.Detection(label=classification_pb2.LabelScore(label=label, score=score), box=box)
            for label, score in self.labels
            if score >= request.threshold
        ]
        return pb.DetectObjectsResponse(detections=found, width=100, height=80, computed=COMPUTED)

    def _transcribe(self, request: Any, context: grpc.ServicerContext) -> pb.TranscribeResponse:
        self._note(request, context)
        self._fail(context)
        segments = [
            classification_pb2.Segment(text=piece, start=Duration(seconds=second), end=Duration(seconds=second + 1))
            for second, piece in enumerate(self.pieces)
        ]
        return pb.TranscribeResponse(
            text="".join(self.pieces),
            segments=segments,
            duration=Duration(seconds=len(segments)),
            usage=generation_pb2.Usage(output_tokens=len(segments)),
            computed=COMPUTED,
        )

    def _labelled(self, length: int) -> classification_pb2.Classification:
        labels = [*self.labels, (f"length {length}", 0.05)]
        return classification_pb2.Classification(
            labels=[
                classification_pb2.LabelScore(label=label, score=score, index=index)
                for index, (label, score) in enumerate(labels)
            ]
        )

    def _workers(self, request: Any, context: grpc.ServicerContext) -> worker_service_pb2.ListWorkersResponse:
        loaded = worker_service_pb2.LoadedModel(reference="team/chat@1", size_bytes=1000)
        worker = worker_service_pb2.Worker(name="w1", resource_class="cpu", capacity=4, running=1, models=[loaded])
        return worker_service_pb2.ListWorkersResponse(workers=[worker])

    def _note(self, request: Any, context: grpc.ServicerContext) -> None:
        self.seen.append(request)
        self.metadata = dict(context.invocation_metadata())

    def _fail(self, context: grpc.ServicerContext) -> None:
        if isinstance(self.failing, ZooError):
            details = to_status(self.failing).SerializeToString()
            context.set_trailing_metadata((("grpc-status-details-bin", details),))
            context.abort(self.failing.code, self.failing.message)
        elif self.failing is not None:
            context.abort(*self.failing)
