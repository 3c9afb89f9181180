"""Running models: the half of a client that workers answer."""

import itertools
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Concatenate, ParamSpec, TypeVar, Unpack

import grpc

from modelzoo import records, wire
from modelzoo.calls import building, translated
from modelzoo.generation import Generation, GenerationOptions, Prompt, ResponseStream, generation_input
from modelzoo.inputs import AudioInput, ImageInput, audio_bytes, image_bytes
from modelzoo.naming import naming_the_input
from modelzoo.reference import parse
from zoo.inference.v1 import inference_service_pb2 as pb
from zoo.inference.v1 import inference_service_pb2_grpc as rpc

if TYPE_CHECKING:
    import numpy
    from numpy.typing import NDArray

__all__ = ["Inference"]

T = TypeVar("T")
R = TypeVar("R")
P = ParamSpec("P")

# A model that no worker holds yet is loaded within the call.
COMPUTE_TIMEOUT_S = 600.0
MODEL_KEY = "zoo-model"  # lets the gateway route without reading the message
CONCURRENT_CALLS = 8  # of one `map`: enough to fill a worker's batch, few enough to leave others their place


class Inference:
    """Methods that run the model of a reference, by what it does: TASK_MISMATCH says what it does instead.

    A picture is the path of a file, a file's bytes, an open binary file, a PIL image, or a uint8 array [height, width]
    or [height, width, channels]. A sound is the path of a file, a file's bytes, an open binary file, or an array
    [samples] or [samples, channels] with its `rate_hz`: floats from -1 to 1, or int16. LOCAL_PATH_INVALID where a path
    cannot be read, INPUT_EMPTY, FIELD_INVALID and REQUEST_TOO_LARGE (over 64 MiB) before anything is sent.
    """

    def __init__(self, channel: grpc.Channel) -> None:
        self._inference = rpc.InferenceServiceStub(channel)

    def generate(
        self,
        ref: str,
        prompt: Prompt,
        *,
        timeout_s: float = COMPUTE_TIMEOUT_S,
        **options: Unpack[GenerationOptions],
    ) -> Generation:
        """The model's continuation of a prompt or a chat, in pieces as they are made; `Generation` says more.

        A prompt is one user's turn where the model has a chat template; with `raw=True` it is continued as it stands.
        Without `temperature` the most probable token is taken; a `seed` makes the draw repeatable.
        """
        model = str(parse(ref))
        request = pb.StreamGenerateRequest(model=model, input=generation_input(prompt, **options))
        end = 0.0

        def start() -> ResponseStream:
            nonlocal end
            end = end or time.monotonic() + timeout_s  # of all starts together
            left_s = max(0.0, end - time.monotonic())
            return self._inference.StreamGenerate(request, timeout=left_s, metadata=((MODEL_KEY, model),))

        return Generation(start)

    def complete(
        self,
        ref: str,
        prompt: Prompt,
        *,
        timeout_s: float = COMPUTE_TIMEOUT_S,
        **options: Unpack[GenerationOptions],
    ) -> records.Completion:
        """The same, answered once it is whole."""
        model = str(parse(ref))
        request = pb.GenerateRequest(model=model, input=generation_input(prompt, **options))
        with translated():
            response = self._inference.Generate(request, timeout=timeout_s, metadata=((MODEL_KEY, model),))
        return records.Completion(response.text, wire.finish(response.finish))

    def embed(
        self, ref: str, texts: str | Sequence[str], *, timeout_s: float = COMPUTE_TIMEOUT_S
    ) -> "NDArray[numpy.float32] | list[list[float]]":
        """A vector for each text: a float32 array of shape (texts, dimensions), or lists where numpy is missing."""
        model = str(parse(ref))
        with building():
            request = pb.EmbedRequest(model=model, texts=[texts] if isinstance(texts, str) else texts)
        with translated():
            response = self._inference.Embed(request, timeout=timeout_s, metadata=((MODEL_KEY, model),))
        rows = [list(embedding.values) for embedding in response.embeddings]
        try:
            import numpy
        except ModuleNotFoundError:
            return rows
        return numpy.array(rows, dtype=numpy.float32)

    def classify_text(
        self,
        ref: str,
        texts: str | Sequence[str],
        *,
        top_k: int | None = None,
        timeout_s: float = COMPUTE_TIMEOUT_S,
    ) -> list[records.Classification]:
        """The `top_k` most probable labels of each text; 5 unless the caller says otherwise."""
        model = str(parse(ref))
        given = [texts] if isinstance(texts, str) else texts
        with building():
            request = pb.ClassifyTextRequest(model=model, texts=given, top_k=top_k)
        with translated():
            response = self._inference.ClassifyText(request, timeout=timeout_s, metadata=((MODEL_KEY, model),))
        return wire.classifications(response)

    def classify_image(
        self,
        ref: str,
        image: ImageInput,
        *,
        top_k: int | None = None,
        timeout_s: float = COMPUTE_TIMEOUT_S,
    ) -> records.Classification:
        """The `top_k` most probable labels of a picture; 5 unless the caller says otherwise."""
        model = str(parse(ref))
        data = image_bytes(image)
        with building():
            request = pb.ClassifyImageRequest(model=model, image=data, top_k=top_k)
        with translated():
            response = self._inference.ClassifyImage(request, timeout=timeout_s, metadata=((MODEL_KEY, model),))
        return wire.classification(response)

    def detect_objects(
        self,
        ref: str,
        image: ImageInput,
        *,
        threshold: float | None = None,
        max_detections: int | None = None,
        timeout_s: float = COMPUTE_TIMEOUT_S,
    ) -> records.Detections:
        """Objects in a picture that score at least `threshold` (0.5), at most `max_detections` (100)."""
        model = str(parse(ref))
        data = image_bytes(image)
        with building():
            request = pb.DetectObjectsRequest(
                model=model, image=data, threshold=threshold, max_detections=max_detections
            )
        with translated():
            response = self._inference.DetectObjects(request, timeout=timeout_s, metadata=((MODEL_KEY, model),))
        return wire.detections(response)

    def transcribe(
        self,
        ref: str,
        audio: AudioInput,
        *,
        rate_hz: int | None = None,
        language: str = "",
        timeout_s: float = COMPUTE_TIMEOUT_S,
    ) -> records.Transcription:
        """Speech as text. `language` is ISO 639-1 (`de`); without it the model finds out."""
        model = str(parse(ref))
        data = audio_bytes(audio, rate_hz)
        with building():
            request = pb.TranscribeRequest(model=model, audio=data, language=language)
        with translated():
            response = self._inference.Transcribe(request, timeout=timeout_s, metadata=((MODEL_KEY, model),))
        return wire.transcription(response)

    def map(
        self,
        method: Callable[Concatenate[str, T, P], R],
        ref: str,
        inputs: Iterable[T],
        *args: P.args,
        **options: P.kwargs,
    ) -> list[R]:
        """What a method of this client answers for each input, in order: `zoo.map(zoo.classify_image, ref, paths)`.

        Eight calls go on at once, so that the worker can compute them together. The first error in the order of the
        inputs is raised, with a note that names the input, and what had not begun is left.
        """

        def call(position: int, given: T) -> R:
            with naming_the_input(position, given):
                return method(ref, given, *args, **options)

        pool = ThreadPoolExecutor(CONCURRENT_CALLS, thread_name_prefix="zoo-map")
        try:
            return list(pool.map(call, itertools.count(), inputs))
        finally:
            # Without waiting, which would hold up a Ctrl-C: calls under way end when the client is closed.
            pool.shutdown(wait=False, cancel_futures=True)
