"""From a version to a model in memory: files into the node cache, tensors mapped, an engine or a batcher around it.

While weights are still coming in, the tokenizer is read and the module built; it is filled when they are here. Of an
adapter it is the base's, with the adapter added to its weights: docs/adr/0026-adapters-served-by-merging-at-load.md.
"""

import asyncio
from collections.abc import Set
from contextlib import AbstractContextManager, AsyncExitStack
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Protocol

import grpc
import torch

from modelzoo.adapter_files import join_files
from modelzoo.arriving import Arriving, hold_arriving
from modelzoo.cache import NodeCache
from modelzoo.tasks.context import context_of
from modelzoo.tasks.files import ModelFiles, architecture_of, read_files
from modelzoo.tasks.opening import make_task_model
from modelzoo.tasks.task import Task, task_of
from modelzoo.tasks.tokenizing import Tokenizing
from zoo_inference.batching import Batcher, BatchLimits
from zoo_inference.catalog import Version
from zoo_inference.generation.engine import GenerationEngine
from zoo_inference.generation.runner import Runner
from zoo_inference.generation.scheduler import Limits
from zoo_inference.model import BatchedModel, GenerativeModel, LoadedModel
from zoo_inference.pages import touch_pages
from zoo_inference.placement import Placement
from zoo_inference.prompt import PromptMaker
from zoo_inference.task import unsupported
from zoo_inference.template import ChatTemplate
from zoo_inference.text_thread import TextThread

__all__ = ["Loader", "PulledSource", "Source"]


class Source(Protocol):
    """Where versions' files come from."""

    def hold(self, version: Version) -> AbstractContextManager[Arriving]:
        """Its files, or those that came first while the weights are coming in, for the length of the block. Blocks."""
        ...


class PulledSource:
    """The artifact service, by way of the node cache."""

    def __init__(self, channel: grpc.Channel, cache: NodeCache) -> None:
        self._channel = channel
        self._cache = cache

    def hold(self, version: Version) -> AbstractContextManager[Arriving]:
        return hold_arriving(self._channel, self._cache, version.namespace, version.manifest_digest, version.reference)


# What a batch may cost, in the unit of the task model's `cost`: tokens, values of pictures, windows of sound.
_BATCHES = {
    Task.EMBED: BatchLimits(),
    Task.CLASSIFY_TEXT: BatchLimits(),
    Task.CLASSIFY_IMAGE: BatchLimits(items=16, cost=16 * 3 * 384 * 384),
    Task.DETECT_OBJECTS: BatchLimits(items=8, cost=2 * 3 * 1024 * 1024),
    Task.TRANSCRIBE: BatchLimits(items=8, cost=8),
}
_OF_TEXTS = frozenset({Task.EMBED, Task.CLASSIFY_TEXT})


class Loader:
    """Loads versions. `batch_requests` and `batch_memory_bytes` bound what each generating model does at once."""

    def __init__(self, source: Source, batch_requests: int, batch_memory_bytes: int) -> None:
        self._source = source
        self._batch_requests = batch_requests
        self._batch_memory_bytes = batch_memory_bytes

    async def load(self, version: Version, placement: Placement) -> LoadedModel:
        """Raises MODEL_UNSUPPORTED, MODEL_LOAD_FAILED, ADAPTER_UNSUITABLE, and what pulling raises."""
        async with AsyncExitStack() as stack:
            arriving, adapter = await self._hold(version, stack), None
            if version.base is not None:
                adapter = await asyncio.to_thread(arriving.whole)
                arriving = await self._join(await self._hold(version.base, stack), adapter, stack)
            architecture = await asyncio.to_thread(architecture_of, arriving.early)
            task = task_of(architecture)
            if task is None or (task is not Task.GENERATE and task not in _BATCHES):
                raise unsupported(version.reference, architecture)
            dtype = torch.float32 if placement.widened else None
            files = await asyncio.to_thread(read_files, arriving.early, dtype, arriving.whole, adapter=adapter)
            await asyncio.to_thread(touch_pages, files.model)
            if task is Task.GENERATE:
                return await self._generative(files, stack)
            model = await asyncio.to_thread(make_task_model, task, files)
            texts = _text_thread(stack) if task in _OF_TEXTS else None
            return BatchedModel(model, Batcher(model.compute, model.cost, _BATCHES[task]), texts, stack.pop_all())

    async def _hold(self, version: Version, stack: AsyncExitStack) -> Arriving:
        holding = self._source.hold(version)
        arriving = await asyncio.to_thread(holding.__enter__)
        # Not on the loop: weights may still be coming in, and are waited for.
        stack.push_async_callback(asyncio.to_thread, holding.__exit__, None, None, None)
        return arriving

    async def _join(self, base: Arriving, adapter: Path, stack: AsyncExitStack) -> Arriving:
        """The base's files, once all are here, under the adapter's."""
        whole = await asyncio.to_thread(base.whole)
        folder = Path(stack.enter_context(TemporaryDirectory(prefix="zoo-adapted-")))
        await asyncio.to_thread(join_files, whole, adapter, folder)
        return Arriving(folder, lambda: folder)

    async def _generative(self, files: ModelFiles, stack: AsyncExitStack) -> GenerativeModel:
        tokenizing = Tokenizing(files.processor)
        template = await self._template(tokenizing, stack)
        runner = Runner(files.model)
        token_bytes = await asyncio.to_thread(_check_runner, runner)
        limits = Limits(self._batch_requests, self._batch_memory_bytes // token_bytes)
        ends = _end_tokens(files.model, tokenizing)
        context = context_of(files.model.config, tokenizing)
        prompts = PromptMaker(tokenizing, template, min(context, limits.tokens), _text_thread(stack))
        engine = GenerationEngine(runner, tokenizing, ends, limits)
        return GenerativeModel(files.size_bytes, engine, prompts, stack.pop_all())

    async def _template(self, tokenizing: Tokenizing, stack: AsyncExitStack) -> ChatTemplate | None:
        if tokenizing.chat_template is None:
            return None
        template = ChatTemplate(tokenizing.chat_template, tokenizing.special_tokens)
        stack.push_async_callback(template.close)
        await template.start()
        return template


def _text_thread(stack: AsyncExitStack) -> TextThread:
    thread = TextThread()
    stack.callback(thread.close)
    return thread


def _check_runner(runner: Runner) -> int:
    with torch.inference_mode():
        return runner.check()


def _end_tokens(model: Any, tokenizing: Tokenizing) -> Set[int]:
    """Tokens that end a text: those of the generation config, and the tokenizer's own."""
    configured: int | list[int] | None = model.generation_config.eos_token_id
    ends = set(configured if isinstance(configured, list) else [configured])
    return frozenset(token for token in {*ends, tokenizing.end_token} if token is not None)
