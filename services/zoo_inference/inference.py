"""A call from its reference to its result: resolve, have the model in memory, prepare, compute."""

import asyncio
import time
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass

from modelzoo.errors import InvalidArgument
from zoo_inference.admission import Admission, Ticket
from zoo_inference.catalog import Version
from zoo_inference.engine import Finished, Started
from zoo_inference.model import EmbeddingModel, GenerativeModel, LoadedModel
from zoo_inference.requests import GenerationRequest
from zoo_inference.residency import Residency
from zoo_inference.resolve import Resolver
from zoo_inference.task import Task, check_task, task_mismatch

__all__ = ["Embedded", "Ended", "Inference"]


@dataclass(frozen=True, slots=True)
class Ended:
    """The text is complete, and which version made it."""

    finished: Finished
    version: Version


@dataclass(frozen=True, slots=True)
class Embedded:
    """A vector for each text, in order."""

    vectors: list[list[float]]
    input_tokens: int
    version: Version


class Inference:
    """What this worker does. Every method raises what InferenceService documents."""

    def __init__(self, resolver: Resolver, residency: Residency[LoadedModel], admission: Admission) -> None:
        self._resolver = resolver
        self._residency = residency
        self._admission = admission

    async def generate(self, reference: str, request: GenerationRequest) -> AsyncGenerator[str | Ended]:
        """The text piece by piece, then Ended. Closing the generator early cancels the request."""
        arrived = time.monotonic()
        with self._admission.enter() as ticket:
            version = await self._resolver.resolve(reference)
            _check(version, Task.GENERATE)
            async with self._residency.use(version) as model:
                if not isinstance(model, GenerativeModel):
                    raise task_mismatch(version.reference, Task.EMBED, Task.GENERATE)
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

    async def embed(self, reference: str, texts: tuple[str, ...]) -> Embedded:
        with self._admission.enter() as ticket:
            version = await self._resolver.resolve(reference)
            _check(version, Task.EMBED)
            async with self._residency.use(version) as model:
                if not isinstance(model, EmbeddingModel):
                    raise task_mismatch(version.reference, Task.GENERATE, Task.EMBED)
                return await _embed(model, version, texts, ticket)


async def _embed(model: EmbeddingModel, version: Version, texts: tuple[str, ...], ticket: Ticket) -> Embedded:
    items = await asyncio.to_thread(lambda: [model.tokens_of(text) for text in texts])
    for index, tokens in enumerate(items):
        if len(tokens) > model.context:
            raise InvalidArgument(
                "CONTEXT_EXCEEDED",
                f"texts[{index}] has {len(tokens)} tokens and the model reads {model.context} at most: split it",
                metadata={"tokens": str(len(tokens)), "context": str(model.context)},
                field=f"texts[{index}]",
            )
    vectors = await model.batcher.submit(items, ticket.start)
    return Embedded(vectors, sum(len(tokens) for tokens in items), version)


def _check(version: Version, wanted: Task) -> None:
    """Refuse before anything is loaded, where the catalog knows what the model is."""
    if version.architecture:
        check_task(version.reference, version.architecture, wanted)
