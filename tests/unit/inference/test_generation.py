"""The decode loop against transformers' generate, and requests that share a batch."""

import asyncio
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM, MistralConfig, MistralForCausalLM

from modelzoo.errors import FailedPrecondition, Unavailable
from modelzoo.loading import load_directory, load_processor_directory
from modelzoo.tasks.tokenizing import Tokenizing
from support.tiny_models import reciting_gpt2, tiny_gpt2, tiny_llama
from support.waiting import eventually
from zoo_inference.engine import Finished, FinishReason, GenerationTask, Sampling
from zoo_inference.generation.detokenizer import TokenDecoder
from zoo_inference.generation.engine import CHUNK_TOKENS, GenerationEngine
from zoo_inference.generation.runner import Runner
from zoo_inference.generation.scheduler import Limits

LIMITS = Limits(rows=8, tokens=100_000)


@dataclass
class Rig:
    model: Any
    tokenizer: Any
    engine: GenerationEngine

    def task(self, text: str, **options: Any) -> GenerationTask:
        return GenerationTask(tuple(self.tokenizer.encode(text)), options.pop("max_tokens", 32), 0.0, **options)

    async def run(self, text: str, **options: Any) -> tuple[list[str], Finished]:
        pieces: list[str] = []
        async for output in self.engine.outputs(self.engine.admit(self.task(text, **options))):
            if isinstance(output, str):
                pieces.append(output)
            elif isinstance(output, Finished):
                return pieces, output
        raise AssertionError("ended without Finished")

    async def text(self, prompt: str, **options: Any) -> str:
        return "".join((await self.run(prompt, **options))[0])

    def expected(self, text: str, max_tokens: int = 32) -> str:
        """What transformers makes of it greedily."""
        tokens = torch.tensor([self.tokenizer.encode(text)])
        made = self.model.generate(tokens, max_new_tokens=max_tokens, do_sample=False)[0, tokens.shape[1] :]
        return self.tokenizer.decode(made, skip_special_tokens=True)


@asynccontextmanager
async def rig(
    directory: Path, limits: Limits = LIMITS, *, decoder: Callable[[Tokenizing], TokenDecoder] = lambda it: it
) -> AsyncIterator[Rig]:
    model, tokenizer = load_directory(directory), load_processor_directory(directory)
    ends = frozenset({tokenizer.eos_token_id})
    engine = GenerationEngine(Runner(model), decoder(Tokenizing(tokenizer)), ends, limits)
    try:
        yield Rig(model, tokenizer, engine)
    finally:
        await engine.close()


PROMPTS = ["a", "the quick brown fox", "naïve 😀", "x" * 150, "hello " * 30]


@pytest.mark.parametrize("make", [tiny_llama, tiny_gpt2], ids=["llama", "gpt2"])
async def test_greedy_equals_generate(tmp_path: Path, make: Callable[[Path], Path]) -> None:
    async with rig(make(tmp_path)) as it:
        for prompt in PROMPTS:
            assert await it.text(prompt) == it.expected(prompt)


@pytest.mark.parametrize("make", [tiny_llama, tiny_gpt2], ids=["llama", "gpt2"])
async def test_requests_in_one_batch_do_not_change_each_other(tmp_path: Path, make: Callable[[Path], Path]) -> None:
    async with rig(make(tmp_path)) as it:
        lengths = [3, 40, 17, 64, 25]
        texts = await asyncio.gather(
            *(it.text(prompt, max_tokens=most) for prompt, most in zip(PROMPTS, lengths, strict=True))
        )
        steps = it.engine.stats().steps
        assert texts == [it.expected(prompt, most) for prompt, most in zip(PROMPTS, lengths, strict=True)]
        assert steps < sum(lengths), "they were computed one after the other"


async def test_a_request_that_joins_later_gets_the_same_text(tmp_path: Path) -> None:
    async with rig(tiny_llama(tmp_path)) as it:
        first = asyncio.ensure_future(it.text(PROMPTS[1], max_tokens=200))

        async def well_on_its_way() -> bool:
            return it.engine.stats().steps > 20

        await eventually(well_on_its_way)
        assert await it.text(PROMPTS[3]) == it.expected(PROMPTS[3])
        assert await first == it.expected(PROMPTS[1], 200)


async def test_an_input_longer_than_a_chunk_equals_generate(tmp_path: Path) -> None:
    prompt = "lorem ipsum " * (CHUNK_TOKENS // 8)
    async with rig(tiny_llama(tmp_path)) as it:
        together = await asyncio.gather(it.text("short", max_tokens=100), it.text(prompt))
        assert together == [it.expected("short", 100), it.expected(prompt)]


async def test_the_same_seed_draws_the_same_text_alone_and_in_company(tmp_path: Path) -> None:
    seeded = Sampling(temperature=1.2, top_p=0.95, top_k=50, seed=7)
    async with rig(tiny_llama(tmp_path)) as it:
        alone = await it.text("hello", sampling=seeded)
        company = await asyncio.gather(
            *(it.text(p, sampling=Sampling(1.0)) for p in PROMPTS[:3]), it.text("hello", sampling=seeded)
        )
        assert company[-1] == alone
        assert await it.text("hello", sampling=Sampling(1.2, 0.95, 50, seed=8)) != alone
        assert await it.text("hello", sampling=Sampling(1.2)) != await it.text("hello", sampling=Sampling(1.2))


async def test_tokens_beyond_the_batch_wait_their_turn(tmp_path: Path) -> None:
    async with rig(tiny_llama(tmp_path), Limits(rows=2, tokens=100_000)) as it:
        texts = await asyncio.gather(*(it.text(prompt) for prompt in PROMPTS))
        assert texts == [it.expected(prompt) for prompt in PROMPTS]


async def test_memory_for_few_tokens_lets_requests_wait_not_fail(tmp_path: Path) -> None:
    async with rig(tiny_llama(tmp_path), Limits(rows=8, tokens=200)) as it:
        texts = await asyncio.gather(*(it.text(prompt) for prompt in PROMPTS))
        assert texts == [it.expected(prompt) for prompt in PROMPTS]


async def test_the_model_ends_its_text_itself(tmp_path: Path) -> None:
    async with rig(reciting_gpt2(tmp_path, "to be or not", after=3)) as it:
        pieces, finished = await it.run("abc", max_tokens=100)
        assert "".join(pieces) == "to be or not"
        assert (finished.reason, finished.input_tokens, finished.output_tokens) == (FinishReason.STOP, 3, 13)


async def test_max_tokens_ends_the_text(tmp_path: Path) -> None:
    async with rig(reciting_gpt2(tmp_path, "to be or not", after=3)) as it:
        pieces, finished = await it.run("abc", max_tokens=5)
        assert "".join(pieces) == "to be"
        assert (finished.reason, finished.output_tokens) == (FinishReason.LENGTH, 5)


async def test_characters_of_several_tokens_come_whole(tmp_path: Path) -> None:
    text = "né 😀👍🏽 语言 ok"
    async with rig(reciting_gpt2(tmp_path, text, after=1)) as it:
        pieces, _ = await it.run("x", max_tokens=100)
        assert pieces == list(text)


async def test_half_a_character_at_the_end_is_a_replacement_character(tmp_path: Path) -> None:
    async with rig(reciting_gpt2(tmp_path, "ab😀", after=1)) as it:
        assert await it.text("x", max_tokens=4) == "ab\ufffd"


@pytest.mark.parametrize(
    ("stop", "said"),
    [
        (("not",), "to be or "),
        (("o be o",), "t"),
        (("zzz", "be", "e or"), "to "),
        (("not now",), "to be or not 😀"),
        (("😀",), "to be or not "),
    ],
)
async def test_a_stop_text_is_never_said(tmp_path: Path, stop: tuple[str, ...], said: str) -> None:
    async with rig(reciting_gpt2(tmp_path, "to be or not 😀", after=1)) as it:
        pieces, finished = await it.run("x", max_tokens=100, stop=stop)
        assert "".join(pieces) == said
        assert finished.reason is FinishReason.STOP


async def test_a_cancelled_request_leaves_within_a_step(tmp_path: Path) -> None:
    async with rig(tiny_llama(tmp_path)) as it:
        outputs = it.engine.outputs(it.engine.admit(it.task("hello", max_tokens=900, sampling=Sampling(1.0))))
        async for output in outputs:
            if isinstance(output, str):
                break
        await outputs.aclose()
        asked = it.engine.stats().steps
        await eventually(lambda: is_idle(it))
        assert it.engine.stats().steps <= asked + 1


async def is_idle(it: Rig) -> bool:
    stats = it.engine.stats()
    return stats.running == 0 and stats.queued == 0


async def test_those_who_stay_are_not_changed_by_who_leaves(tmp_path: Path) -> None:
    together, may_go_on = threading.Event(), threading.Event()

    def hold_where_three_run(module: Any, args: Any, kwargs: Any) -> None:
        if len(kwargs["input_ids"]) == 3 and not together.is_set():
            together.set()
            may_go_on.wait(30)

    async with rig(tiny_llama(tmp_path)) as it:
        expected = it.expected(PROMPTS[3], 300)
        it.model.register_forward_pre_hook(hold_where_three_run, with_kwargs=True)
        gone = [it.engine.admit(it.task(prompt, max_tokens=500)) for prompt in PROMPTS[:2]]
        stays = asyncio.ensure_future(it.text(PROMPTS[3], max_tokens=300))
        assert await asyncio.to_thread(together.wait, 30)
        for number in gone:
            it.engine.cancel(number)
        may_go_on.set()
        assert await stays == expected


POISON = "\x07"


async def fails(awaitable: Awaitable[object]) -> str:
    with pytest.raises(Unavailable) as caught:
        await awaitable
    return caught.value.reason


class Stumbling:
    """Decodes nothing that has POISON in it."""

    def __init__(self, tokenizing: Tokenizing) -> None:
        self._tokenizing = tokenizing

    def decode(self, tokens: Sequence[int]) -> str:
        text = self._tokenizing.decode(tokens)
        if POISON in text:
            raise RuntimeError("poisoned")
        return text


def poison(it: Rig, *, on_raise: bool) -> None:
    """Make the model fail over the input POISON: raise, or answer not a number."""
    token = it.tokenizer.encode(POISON)[0]

    def hook(module: Any, args: Any, kwargs: Any, output: Any) -> Any:
        poisoned = (kwargs["input_ids"] == token).any(-1)
        if poisoned.any() and on_raise:
            raise RuntimeError("poisoned")
        output.logits[poisoned] = float("nan")
        return output

    it.model.register_forward_hook(hook, with_kwargs=True)


@pytest.mark.parametrize("on_raise", [True, False])
async def test_a_request_that_breaks_the_model_fails_alone(tmp_path: Path, on_raise: bool) -> None:
    async with rig(tiny_llama(tmp_path)) as it:
        expected = it.expected("hello", 100)
        poison(it, on_raise=on_raise)
        good = asyncio.ensure_future(it.text("hello", max_tokens=100))
        assert await fails(it.text("bad" + POISON)) == "ENGINE_FAILED"
        assert await good == expected


@pytest.mark.parametrize("on_raise", [True, False])
async def test_a_token_that_breaks_a_batch_ends_its_own_request_only(tmp_path: Path, on_raise: bool) -> None:
    async with rig(reciting_gpt2(tmp_path, "abcdef" + POISON + "to be or not to be", after=4)) as it:
        poison(it, on_raise=on_raise)
        # The longer input begins behind the poison.
        results = await asyncio.gather(fails(it.text("1234", max_tokens=50)), it.text("12345678901", max_tokens=50))
        assert results == ["ENGINE_FAILED", "to be or not to be"]
        assert await it.text("12345678901", max_tokens=5) == "to be"


async def test_a_request_whose_input_cannot_be_written_fails_alone(tmp_path: Path) -> None:
    async with rig(tiny_llama(tmp_path), decoder=Stumbling) as it:
        good = asyncio.ensure_future(it.text("hello", max_tokens=100))
        assert await fails(it.text("bad" + POISON)) == "ENGINE_FAILED"
        assert await good == it.expected("hello", 100)


async def test_closing_ends_what_is_left(tmp_path: Path) -> None:
    async with rig(tiny_llama(tmp_path), Limits(rows=1, tokens=10_000)) as it:
        left = [asyncio.ensure_future(fails(it.text(p, max_tokens=900, sampling=Sampling(1.0)))) for p in PROMPTS[:2]]
        await asyncio.sleep(0)
        await it.engine.close()
        assert await asyncio.gather(*left) == ["DRAINING", "DRAINING"]


async def test_stepping_is_checked_against_the_plain_model(tmp_path: Path) -> None:
    with torch.inference_mode():
        assert Runner(load_directory(tiny_llama(tmp_path))).check() == 2 * 2 * 2 * 8 * 4


def test_an_architecture_that_steps_otherwise_is_refused() -> None:
    small = {
        "vocab_size": 64,
        "hidden_size": 32,
        "intermediate_size": 32,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "num_key_value_heads": 2,
    }
    windowed = MistralForCausalLM(MistralConfig(**small, sliding_window=2, initializer_range=0.5)).eval()
    with torch.inference_mode(), pytest.raises(FailedPrecondition) as caught:
        Runner(windowed).check()
    assert caught.value.reason == "MODEL_UNSUPPORTED"
    with torch.inference_mode():
        Runner(LlamaForCausalLM(LlamaConfig(**small)).eval()).check()
