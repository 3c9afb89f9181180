"""Models in memory: what each kind of task needs of one."""

from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Any

from modelzoo.tasks.opening import AtOnce
from modelzoo.tasks.task import Task
from zoo_inference.batching import Batcher
from zoo_inference.engine import Engine
from zoo_inference.prompt import PromptMaker
from zoo_inference.text_thread import TextThread

__all__ = ["BatchedModel", "GenerativeModel", "LoadedModel"]


@dataclass(frozen=True, slots=True)
class GenerativeModel:
    """Continues texts. `held` is let go of at the end: files that tensors lie in, the template's process."""

    size_bytes: int
    engine: Engine
    prompts: PromptMaker
    held: AsyncExitStack

    @property
    def task(self) -> Task:
        return Task.GENERATE

    async def close(self) -> None:
        await self.engine.close()
        await self.held.aclose()


@dataclass(frozen=True, slots=True)
class BatchedModel:
    """Answers inputs at once, many in a batch. The batcher's items and results are those of the task model, which
    knows their types. `texts` is there where its inputs are texts. `held` as above.
    """

    model: AtOnce
    batcher: Batcher[Any, Any]
    texts: TextThread | None
    held: AsyncExitStack

    @property
    def task(self) -> Task:
        return self.model.task

    @property
    def size_bytes(self) -> int:
        return self.model.size_bytes

    async def close(self) -> None:
        await self.batcher.close()
        await self.held.aclose()


LoadedModel = GenerativeModel | BatchedModel
