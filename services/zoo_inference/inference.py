"""A call from its reference to its result: resolve, check the input, have the model in memory, prepare, compute."""

import time
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from modelzoo.media.audio import decode_audio
from modelzoo.media.image import decode_image
from modelzoo.tasks.context import check_context
from modelzoo.tasks.embedding import TextEncoder
from modelzoo.tasks.image_classification import ImageClassifier
from modelzoo.tasks.object_detection import ObjectDetector
from modelzoo.tasks.opening import AtOnce
from modelzoo.tasks.results import Detected, LabelScore, Transcript
from modelzoo.tasks.task import Task
from modelzoo.tasks.text_classification import TextClassifier
from modelzoo.tasks.transcription import RATE_HZ, Transcriber, joined
from zoo_inference.admission import Admission, Ticket
from zoo_inference.catalog import Version
from zoo_inference.engine import Finished, Started
from zoo_inference.gate import Gate
from zoo_inference.model import GenerativeModel, LoadedModel
from zoo_inference.preparation import Preparation
from zoo_inference.requests import GenerationRequest
from zoo_inference.residency import Residency
from zoo_inference.resolve import Resolver
from zoo_inference.task import check_task, task_mismatch
from zoo_server.call import current_principal

__all__ = ["Answer", "Classified", "Embedded", "Ended", "Inference", "Transcribed"]

M = TypeVar("M", bound=AtOnce)
R = TypeVar("R")


@dataclass(frozen=True, slots=True)
class Ended:
    """The text is complete, and which version made it."""

    finished: Finished
    version: Version


@dataclass(frozen=True, slots=True)
class Answer(Generic[R]):
    """What a model answered, which version it is, and how long the request waited and was computed."""

    result: R
    version: Version
    queue_s: float
    compute_s: float


@dataclass(frozen=True, slots=True)
class Embedded:
    """A vector for each text, in order."""

    vectors: list[list[float]]
    input_tokens: int


@dataclass(frozen=True, slots=True)
class Classified:
    """Labels of each text, in order."""

    labels: list[tuple[LabelScore, ...]]
    input_tokens: int


@dataclass(frozen=True, slots=True)
class Transcribed:
    """What was said in a sound of this length."""

    transcript: Transcript
    duration_s: float


class Inference:
    """What this worker does. Every method raises what InferenceService documents."""

    def __init__(self, resolver: Resolver, gate: Gate, residency: Residency[LoadedModel], admission: Admission) -> None:
        self._resolver = resolver
        self._gate = gate
        self._residency = residency
        self._admission = admission
        self._preparation = Preparation()

    async def generate(self, reference: str, request: GenerationRequest) -> AsyncGenerator[str | Ended]:
        """The text piece by piece, then Ended. Closing the generator early cancels the request."""
        arrived = time.monotonic()
        with self._admission.enter() as ticket:
            version = await self._resolve(reference, Task.GENERATE)
            async with self._residency.use(version) as model:
                if not isinstance(model, GenerativeModel):
                    raise task_mismatch(version.reference, model.task, Task.GENERATE)
                task = await model.prompts.make(request, arrived)
                async with aclosing(model.engine.outputs(model.engine.admit(task))) as outputs:
                    async for output in outputs:
                        match output:
                            case Started():
                                ticket.start()
                            case str():
                                yield output
                            case Finished():
                                yield Ended(output, version)

    async def embed(self, reference: str, texts: Sequence[str]) -> Answer[Embedded]:
        with self._admission.enter() as ticket:
            call = await self._admit(ticket, reference, Task.EMBED)
            ran = await self._run(call, TextEncoder, lambda model: _tokens(model, texts))
            return call.answer(Embedded(ran.results, sum(len(tokens) for tokens in ran.items)))

    async def classify_texts(self, reference: str, texts: Sequence[str], top_k: int) -> Answer[Classified]:
        with self._admission.enter() as ticket:
            call = await self._admit(ticket, reference, Task.CLASSIFY_TEXT)
            ran = await self._run(call, TextClassifier, lambda model: _tokens(model, texts))
            labels = [ran.model.labels.rank(probabilities, top_k) for probabilities in ran.results]
            return call.answer(Classified(labels, sum(len(tokens) for tokens in ran.items)))

    async def classify_image(self, reference: str, data: bytes, top_k: int) -> Answer[tuple[LabelScore, ...]]:
        with self._admission.enter() as ticket:
            call = await self._admit(ticket, reference, Task.CLASSIFY_IMAGE)
            async with self._preparation.place(Task.CLASSIFY_IMAGE):
                image = await self._preparation.do(decode_image, data)
                ran = await self._run(call, ImageClassifier, lambda model: [model.prepare(image)])
            return call.answer(ran.model.labels.rank(ran.results[0], top_k))

    async def detect_objects(self, reference: str, data: bytes, threshold: float, most: int) -> Answer[Detected]:
        with self._admission.enter() as ticket:
            call = await self._admit(ticket, reference, Task.DETECT_OBJECTS)
            async with self._preparation.place(Task.DETECT_OBJECTS):
                image = await self._preparation.do(decode_image, data)
                ran = await self._run(call, ObjectDetector, lambda model: [model.prepare(image)])
            detected: Detected = ran.results[0]
            return call.answer(detected.best(threshold, most))

    async def transcribe(self, reference: str, data: bytes, language: str) -> Answer[Transcribed]:
        with self._admission.enter() as ticket:
            call = await self._admit(ticket, reference, Task.TRANSCRIBE)
            async with self._preparation.place(Task.TRANSCRIBE):
                samples = await self._preparation.do(decode_audio, data, RATE_HZ)
                ran = await self._run(call, Transcriber, lambda model: model.prepare(samples, language))
            return call.answer(Transcribed(joined(ran.results), len(samples) / RATE_HZ))

    async def close(self) -> None:
        """Let go of what prepares inputs."""
        await self._preparation.close()

    async def _admit(self, ticket: Ticket, reference: str, wanted: Task) -> "_Call":
        arrived = time.monotonic()
        return _Call(ticket, await self._resolve(reference, wanted), arrived)

    async def _resolve(self, reference: str, wanted: Task) -> Version:
        version = await self._resolver.resolve(reference)
        await self._gate.check(version, current_principal())
        # Refused before anything is loaded, where the catalog knows what the model is.
        if version.architecture:
            check_task(version.reference, version.architecture, wanted)
        return version

    async def _run(self, call: "_Call", kind: type[M], prepare: Callable[[M], list[Any]]) -> "_Ran[M]":
        """`prepare` makes the model's items of the input, off the event loop."""
        async with self._residency.use(call.version) as loaded:
            if isinstance(loaded, GenerativeModel) or not isinstance(loaded.model, kind):
                raise task_mismatch(call.version.reference, loaded.task, kind.task)
            model = loaded.model
            if loaded.texts is not None:
                items = await loaded.texts.do(lambda: prepare(model))
            else:
                items = await self._preparation.do(prepare, model)
            results = await loaded.batcher.submit(items, call.start)
        return _Ran(model, items, results)


class _Call:
    """A request's times."""

    def __init__(self, ticket: Ticket, version: Version, arrived: float) -> None:
        self.version = version
        self._ticket = ticket
        self._arrived = arrived
        self._started: float | None = None

    def start(self) -> None:
        """The first of its items is computed now."""
        self._ticket.start()
        if self._started is None:
            self._started = time.monotonic()

    def answer(self, result: R) -> Answer[R]:
        ended = time.monotonic()
        started = self._started or ended
        return Answer(result, self.version, started - self._arrived, ended - started)


@dataclass(frozen=True, slots=True)
class _Ran(Generic[M]):
    """What a model made of its items, in their order."""

    model: M
    items: list[Any]
    results: list[Any]


def _tokens(model: TextEncoder | TextClassifier, texts: Sequence[str]) -> list[list[int]]:
    items = [model.prepare(text) for text in texts]
    for index, tokens in enumerate(items):
        check_context(len(tokens), model.context, f"texts[{index}]")
    return items
