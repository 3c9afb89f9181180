"""From a version to a model in memory: files into the node cache, tensors mapped, an engine or a batcher around it."""

import asyncio
from collections.abc import Set
from contextlib import AbstractContextManager, AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, cast

import grpc
import torch

from modelzoo.cache import NodeCache
from modelzoo.loading import load_directory, load_processor_directory, read_json
from modelzoo.pull import hold
from zoo_inference.batching import Batcher, BatchLimits
from zoo_inference.catalog import Version
from zoo_inference.embedding import Encoder, SentenceFiles
from zoo_inference.generation.engine import GenerationEngine
from zoo_inference.generation.runner import Runner
from zoo_inference.generation.scheduler import Limits
from zoo_inference.model import EmbeddingModel, GenerativeModel, LoadedModel
from zoo_inference.placement import Placement
from zoo_inference.prompt import PromptMaker
from zoo_inference.task import Task, task_of, unsupported
from zoo_inference.template import ChatTemplate
from zoo_inference.tokenizing import Tokenizing

__all__ = ["Loader", "PulledSource", "Source"]


class Source(Protocol):
    """Where versions' files come from."""

    def hold(self, version: Version) -> AbstractContextManager[Path]:
        """The directory of its files, complete and unchanging, for the length of the block. Blocks."""
        ...


class PulledSource:
    """The artifact service, by way of the node cache."""

    def __init__(self, channel: grpc.Channel, cache: NodeCache) -> None:
        self._channel = channel
        self._cache = cache

    def hold(self, version: Version) -> AbstractContextManager[Path]:
        return hold(self._channel, self._cache, version.namespace, version.manifest_digest)


@dataclass(frozen=True, slots=True)
class _Files:
    """A model as it came from disk. `context` is what its configuration allows, in tokens."""

    path: Path
    model: Any
    tokenizing: Tokenizing
    context: int
    size_bytes: int


class Loader:
    """Loads versions. `batch_requests` and `batch_memory_bytes` bound what each generating model does at once."""

    def __init__(self, source: Source, batch_requests: int, batch_memory_bytes: int) -> None:
        self._source = source
        self._batch_requests = batch_requests
        self._batch_memory_bytes = batch_memory_bytes

    async def load(self, version: Version, placement: Placement) -> LoadedModel:
        """Raises MODEL_UNSUPPORTED, MODEL_LOAD_FAILED, and what pulling raises."""
        async with AsyncExitStack() as stack:
            path = await asyncio.to_thread(stack.enter_context, self._source.hold(version))
            architecture = await asyncio.to_thread(_architecture, path)
            task = task_of(architecture)
            if task is None:
                raise unsupported(version.reference, architecture)
            files = await asyncio.to_thread(_read, path, placement)
            if task is Task.EMBED:
                return await self._embedding(files, stack)
            return await self._generative(files, stack)

    async def _generative(self, files: _Files, stack: AsyncExitStack) -> GenerativeModel:
        template = await self._template(files.tokenizing, stack)
        runner = Runner(files.model)
        token_bytes = await asyncio.to_thread(_check_runner, runner)
        limits = Limits(self._batch_requests, self._batch_memory_bytes // token_bytes)
        ends = _end_tokens(files)
        prompts = PromptMaker(files.tokenizing, template, min(files.context, limits.tokens))
        engine = GenerationEngine(runner, files.tokenizing, ends, limits)
        return GenerativeModel(files.size_bytes, engine, prompts, stack.pop_all())

    async def _template(self, tokenizing: Tokenizing, stack: AsyncExitStack) -> ChatTemplate | None:
        if tokenizing.chat_template is None:
            return None
        template = ChatTemplate(tokenizing.chat_template, tokenizing.special_tokens)
        stack.push_async_callback(template.close)
        await template.start()
        return template

    async def _embedding(self, files: _Files, stack: AsyncExitStack) -> EmbeddingModel:
        sentences = await asyncio.to_thread(SentenceFiles.read, files.path)
        context = min(files.context, files.tokenizing.longest, sentences.longest or files.context)
        encoder = Encoder(files.model, sentences, files.tokenizing.pad_token)
        await asyncio.to_thread(encoder.check, context)
        batcher = Batcher(encoder.encode, BatchLimits())
        return EmbeddingModel(files.size_bytes, batcher, encoder, files.tokenizing, context, stack.pop_all())


def _architecture(path: Path) -> str:
    config = read_json(path / "config.json")
    names: Any = cast(dict[str, Any], config).get("architectures") if isinstance(config, dict) else None
    return str(cast(list[Any], names)[0]) if isinstance(names, list) and names else ""


def _read(path: Path, placement: Placement) -> _Files:
    model: Any = load_directory(path, torch.float32 if placement.widened else None)
    tokenizing = Tokenizing(load_processor_directory(path))
    return _Files(path, model, tokenizing, _context(model.config.get_text_config(), tokenizing), _size_bytes(model))


def _check_runner(runner: Runner) -> int:
    with torch.inference_mode():
        return runner.check()


def _context(config: Any, tokenizing: Tokenizing) -> int:
    """Tokens that the model can look back on. Beyond a sliding window it could go on, but not on what came before."""
    positions: int | None = getattr(config, "max_position_embeddings", None)
    window: int | None = getattr(config, "sliding_window", None)
    return min(positions or tokenizing.longest, window or positions or tokenizing.longest)


def _end_tokens(files: _Files) -> Set[int]:
    """Tokens that end a text: those of the generation config, and the tokenizer's own."""
    configured: int | list[int] | None = files.model.generation_config.eos_token_id
    ends = set(configured if isinstance(configured, list) else [configured])
    return frozenset(token for token in {*ends, files.tokenizing.end_token} if token is not None)


def _size_bytes(model: Any) -> int:
    """Bytes of all tensors, those that share memory once."""
    storages = {
        tensor.untyped_storage().data_ptr(): tensor.numel() * tensor.element_size()
        for tensor in [*model.parameters(), *model.buffers()]
    }
    return sum(storages.values())
