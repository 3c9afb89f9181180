"""The thread that computes, and its two queues: commands come in between steps, outputs go out after each.

A step: requests leave and join, a chunk's worth of inputs, one token of every text. If a pass over the batch fails,
each row is tried alone, so that only a request that fails by itself ends with ENGINE_FAILED. A model, a tokenizer or
the machine can fail in every way there is, hence the broad excepts.
"""

import asyncio
import itertools
import logging
import queue
import threading
from collections.abc import AsyncGenerator, Callable, Set

import torch
from torch import Tensor

from modelzoo.errors import Unavailable, ZooError
from zoo_inference.engine import EngineStats, Finished, GenerationTask, Output, Started
from zoo_inference.generation.detokenizer import TokenDecoder
from zoo_inference.generation.runner import Runner
from zoo_inference.generation.scheduler import Limits, Scheduler, Waiting
from zoo_inference.generation.sequence import Sequence

__all__ = ["GenerationEngine"]

log = logging.getLogger(__name__)

# Input tokens per step: inputs, long or many, delay the others' next token by so much and no more.
CHUNK_TOKENS = 512

Message = tuple[int, Output | ZooError]


class GenerationEngine:
    """An Engine over a Runner. Make it on the event loop that reads its outputs."""

    def __init__(self, runner: Runner, decoder: TokenDecoder, ends: Set[int], limits: Limits) -> None:
        self._runner = runner
        self._decoder = decoder
        self._ends = ends
        self._scheduler = Scheduler(limits)
        self._memory = runner.new_memory()
        self._prefill_memory = runner.new_memory()
        self._commands: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        self._outbox: list[Message] = []
        self._closing = False
        self._loop = asyncio.get_running_loop()
        self._numbers = itertools.count(1)
        self._inboxes: dict[int, asyncio.Queue[Output | ZooError]] = {}
        self._ended = asyncio.Event()
        self._thread = threading.Thread(target=self._run, name="generation", daemon=True)
        self._thread.start()

    # On the event loop.

    def admit(self, task: GenerationTask) -> int:
        if self._closing:
            raise _draining()
        number = next(self._numbers)
        self._inboxes[number] = asyncio.Queue()
        waiting = Waiting(number, task)
        self._commands.put(lambda: self._scheduler.waiting.append(waiting))
        return number

    async def outputs(self, number: int) -> AsyncGenerator[Output]:
        inbox = self._inboxes[number]
        try:
            while True:
                output = await inbox.get()
                if isinstance(output, ZooError):
                    raise output
                yield output
                if isinstance(output, Finished):
                    return
        finally:
            self.cancel(number)

    def cancel(self, number: int) -> None:
        if self._inboxes.pop(number, None) is not None:
            self._commands.put(lambda: self._remove(number))

    def stats(self) -> EngineStats:
        running = self._scheduler.running
        return EngineStats(running, max(0, len(self._inboxes) - running), self._runner.steps)

    async def close(self) -> None:
        self._closing = True
        self._commands.put(self._end_all)
        await self._ended.wait()
        self._thread.join()

    def _deliver(self, messages: list[Message]) -> None:
        for number, output in messages:
            inbox = self._inboxes.get(number)
            if inbox is not None:
                inbox.put_nowait(output)

    # On the engine's thread.

    def _run(self) -> None:
        with torch.inference_mode():
            while not (self._closing and self._is_idle()):
                try:
                    self._take_commands()
                    self._step()
                # The thread outlives whatever happens in it; requests that were in it do not.
                except Exception:
                    log.exception("the engine failed and begins anew")
                    self._fail_all(_failed())
                self._post()
        self._loop.call_soon_threadsafe(self._ended.set)

    def _is_idle(self) -> bool:
        return not (self._scheduler.running or self._scheduler.waiting) and self._commands.empty()

    def _take_commands(self) -> None:
        """Do what was asked; with nothing to compute, wait for it."""
        if self._is_idle():
            self._commands.get()()
        while True:
            try:
                self._commands.get_nowait()()
            except queue.Empty:
                return

    def _post(self) -> None:
        if self._outbox:
            self._loop.call_soon_threadsafe(self._deliver, self._outbox)
            self._outbox = []

    def _step(self) -> None:
        left = CHUNK_TOKENS
        while left > 0 and (sequence := self._scheduler.prefilling or self._begin_next()) is not None:
            left -= self._prefill(sequence, left)
        if self._scheduler.decoding:
            self._decode()

    def _begin_next(self) -> Sequence | None:
        waiting = self._scheduler.next_waiting()
        if waiting is None:
            return None
        try:
            sequence = Sequence(waiting.number, waiting.task, self._decoder)
        except Exception:
            log.exception("request %d cannot begin", waiting.number)
            self._outbox.append((waiting.number, _failed()))
            return None
        self._scheduler.prefilling = sequence
        self._prefill_memory = self._runner.new_memory()
        self._prefill_memory.add_row()
        self._outbox.append((waiting.number, Started()))
        # Out at once: the input may take a while.
        self._post()
        return sequence

    def _prefill(self, sequence: Sequence, most: int) -> int:
        """Compute at most so many tokens of an input, and its first new one after the last; how many it was."""
        chunk = sequence.next_chunk(most)
        try:
            logits = self._runner.extend(self._prefill_memory, 0, chunk)
        except Exception:
            log.exception("the input of request %d failed", sequence.number)
            self._scheduler.prefilling = None
            self._fail(sequence)
            return len(chunk)
        sequence.fed += len(chunk)
        if sequence.fed == len(sequence.task.tokens):
            self._scheduler.prefilling = None
            if self._draw(sequence, logits):
                self._memory.take_over(self._prefill_memory)
                self._scheduler.decoding.append(sequence)
        return len(chunk)

    def _decode(self) -> None:
        rows = self._logits_by_row()
        # From the last row down: leaving moves the last row, which has had its turn, into the gap.
        for row in reversed(range(len(rows))):
            sequence, logits = self._scheduler.decoding[row], rows[row]
            if logits is None:
                self._fail(sequence)
            if logits is None or not self._draw(sequence, logits):
                self._scheduler.leave(row)
                self._memory.remove_row(row)

    def _logits_by_row(self) -> list[Tensor | None]:
        """Logits of each row's next token; None for a row that cannot be computed even alone."""
        tokens = [sequence.last_token for sequence in self._scheduler.decoding]
        try:
            return list(self._runner.step(self._memory, 0, tokens))
        except Exception:
            log.exception("a step over %d requests failed; trying each alone", len(tokens))
        alone: list[Tensor | None] = []
        for row, token in enumerate(tokens):
            try:
                alone.append(self._runner.step(self._memory, row, [token])[0])
            except Exception:
                log.exception("request %d fails alone too", self._scheduler.decoding[row].number)
                alone.append(None)
        return alone

    def _draw(self, sequence: Sequence, logits: Tensor) -> bool:
        """Take the sequence's next token; whether it goes on."""
        try:
            outputs = sequence.accept(sequence.sampler.draw(logits), self._ends)
        except Exception:
            log.exception("the next token of request %d failed", sequence.number)
            self._fail(sequence)
            return False
        self._outbox.extend((sequence.number, output) for output in outputs)
        return not (outputs and isinstance(outputs[-1], Finished))

    def _fail(self, sequence: Sequence) -> None:
        self._outbox.append((sequence.number, _failed()))

    def _remove(self, number: int) -> None:
        scheduler = self._scheduler
        if scheduler.prefilling is not None and scheduler.prefilling.number == number:
            scheduler.prefilling = None
            return
        for row, sequence in enumerate(scheduler.decoding):
            if sequence.number == number:
                scheduler.leave(row)
                self._memory.remove_row(row)
                return
        for waiting in scheduler.waiting:
            if waiting.number == number:
                scheduler.waiting.remove(waiting)
                return

    def _end_all(self) -> None:
        waiting = list(self._scheduler.waiting)
        self._scheduler.waiting.clear()
        self._fail_all(_draining())
        self._outbox.extend((one.number, _draining()) for one in waiting)

    def _fail_all(self, error: ZooError) -> None:
        """End everything that is being computed with `error`, and forget its memory; what waits goes on."""
        computed = [*self._scheduler.decoding, self._scheduler.prefilling]
        self._outbox.extend((one.number, error) for one in computed if one is not None)
        self._scheduler.decoding.clear()
        self._scheduler.prefilling = None
        self._memory = self._runner.new_memory()


def _failed() -> ZooError:
    return Unavailable("ENGINE_FAILED", "The computation of this request failed; retry it, perhaps on another worker.")


def _draining() -> ZooError:
    return Unavailable("DRAINING", "This worker is shutting down; retry reaches another.", retry_after_s=1.0)
