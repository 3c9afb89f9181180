"""Models in memory: what each task needs of one."""

from contextlib import AsyncExitStack
from dataclasses import dataclass
from functools import partial
from typing import ClassVar

from zoo_inference.batching import Batcher
from zoo_inference.embedding import Encoder
from zoo_inference.engine import Engine
from zoo_inference.prompt import PromptMaker
from zoo_inference.task import Task
from zoo_inference.tokenizing import Tokenizing

__all__ = ["EmbeddingModel", "GenerativeModel", "LoadedModel"]


@dataclass(frozen=True, slots=True)
class GenerativeModel:
    """Continues texts. `held` is let go of at the end: files that tensors lie in, the template's process."""

    task: ClassVar = Task.GENERATE
    size_bytes: int
    engine: Engine
    prompts: PromptMaker
    held: AsyncExitStack

    async def close(self) -> None:
        await self.engine.close()
        await self.held.aclose()


@dataclass(frozen=True, slots=True)
class EmbeddingModel:
    """Turns texts of at most `context` tokens into vectors. `held` as above."""

    task: ClassVar = Task.EMBED
    size_bytes: int
    batcher: Batcher[list[float]]
    encoder: Encoder
    tokenizing: Tokenizing
    context: int
    held: AsyncExitStack

    def tokens_of(self, text: str) -> list[int]:
        """Blocks; the text's tokens, special ones included, however many."""
        return self.encoder.prepare(partial(self.tokenizing.encode, add_special_tokens=True), text)

    async def close(self) -> None:
        await self.batcher.close()
        await self.held.aclose()


LoadedModel = GenerativeModel | EmbeddingModel
