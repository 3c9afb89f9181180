"""Tokenizers are data of strangers, and so are texts: 100 kB of one character, patterns that explode, endless words."""

import asyncio
import json
import threading
import time
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers

from modelzoo.errors import FailedPrecondition
from support.inference_worker import LocalModels, WorkerRig, inference_worker
from support.tiny_models import byte_tokenizer, tiny_gpt2, tiny_sentence_encoder
from support.waiting import eventually
from zoo_inference.text_thread import TextThread

GOOD, ENDLESS, EXPLODING, WRITER = "acme/good", "acme/endless", "acme/exploding", "acme/writer"
# Llama 3's and Qwen's, whose parts overlap.
LLAMA = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}"
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
CHARACTERS = ["a", " ", "\n", "7", "'", "_", "\u4e2d", "\u0301", "\U0001f600"]


def changed(directory: Path, change: Callable[[dict[str, Any]], None]) -> Path:
    """The directory, its tokenizer.json rewritten."""
    written = json.loads((directory / "tokenizer.json").read_text())
    change(written)
    (directory / "tokenizer.json").write_text(json.dumps(written))
    return directory


def without_longest_word(tokenizer: dict[str, Any]) -> None:
    """WordPiece with no limit for words: cubic in their length. Eight thousand letters take half a minute."""
    special = {token["content"]: token["id"] for token in tokenizer["added_tokens"]}
    vocabulary = special | {"x": len(special), "##x": len(special) + 1, **{f"w{n}": 20 + n for n in range(9)}}
    settings = {"unk_token": "[UNK]", "continuing_subword_prefix": "##", "max_input_chars_per_word": 10**9}
    tokenizer["model"] = {"type": "WordPiece", "vocab": vocabulary, **settings}
    tokenizer["pre_tokenizer"] = {"type": "Whitespace"}


def with_nested_repetition(tokenizer: dict[str, Any]) -> None:
    split = {"type": "Split", "pattern": {"Regex": "(x+x+)+y"}, "behavior": "Isolated", "invert": False}
    tokenizer["pre_tokenizer"] = {"type": "Sequence", "pretokenizers": [split, tokenizer["pre_tokenizer"]]}


@pytest.fixture(scope="module")
def directories(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("models")
    return {
        GOOD: tiny_sentence_encoder(root / "good"),
        ENDLESS: changed(tiny_sentence_encoder(root / "endless"), without_longest_word),
        EXPLODING: changed(tiny_sentence_encoder(root / "exploding"), with_nested_repetition),
        WRITER: changed(tiny_gpt2(root / "writer"), with_nested_repetition),
    }


@pytest.fixture
async def rig(directories: dict[str, Path]) -> AsyncIterator[WorkerRig]:
    async with inference_worker(LocalModels(directories)) as rig:
        yield rig


def real_ones() -> dict[str, Tokenizer]:
    """Of each kind in use, as its models configure it."""
    letters = {token: number for number, token in enumerate(sorted(pre_tokenizers.ByteLevel.alphabet()))}
    pairs = {"aa": 256, "aaaa": 257}
    merges = [("a", "a"), ("aa", "aa")]
    gpt2 = Tokenizer(models.BPE(vocab=letters | pairs, merges=merges))
    gpt2.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    llama = Tokenizer(models.BPE(vocab=letters | pairs, merges=merges))
    llama.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Split(Regex(LLAMA), "isolated"), pre_tokenizers.ByteLevel(use_regex=False)]
    )
    bert = Tokenizer(models.WordPiece(vocab={"[UNK]": 0, "a": 1, "##a": 2}, unk_token="[UNK]"))
    bert.normalizer, bert.pre_tokenizer = normalizers.BertNormalizer(), pre_tokenizers.BertPreTokenizer()
    t5 = Tokenizer(models.Unigram([("<unk>", 0.0), ("a", -1.0), ("aa", -1.5), ("\u2581", -2.0)], unk_id=0))
    t5.normalizer, t5.pre_tokenizer = normalizers.NFKC(), pre_tokenizers.Metaspace()
    return {"gpt2": gpt2, "llama": llama, "bert": bert, "t5": t5, "bytes": byte_tokenizer().backend_tokenizer}


@pytest.mark.parametrize("kind", real_ones())
def test_100_kb_of_one_character_take_no_real_tokenizer_a_second(kind: str) -> None:
    tokenizer = real_ones()[kind]
    for character in CHARACTERS:
        began = time.thread_time()
        tokenizer.encode_batch([character * (100_000 // len(character.encode())) + "!"])
        assert time.thread_time() - began < 1, ascii(character)


async def test_a_tokenizer_that_never_ends_holds_up_its_own_model_alone(rig: WorkerRig) -> None:
    await rig.calls().embed(ENDLESS, "x")
    endless = [asyncio.create_task(rig.calls().embed(ENDLESS, "x" * 8_000)) for _ in range(8)]
    for _ in range(3):
        assert (await rig.calls().embed(GOOD, "still here")).embeddings
    assert not any(task.done() for task in endless)
    for task in endless:
        task.cancel()


@pytest.mark.parametrize("model", [EXPLODING, WRITER])
async def test_a_text_that_a_tokenizer_gives_up_on_is_refused_and_the_next_is_not(rig: WorkerRig, model: str) -> None:
    async def ask(text: str) -> Any:
        calls = rig.calls()
        return await (
            calls.embed(model, text) if model == EXPLODING else calls.generate(model, text=text, max_tokens=1)
        )

    error = await rig.calls().refusal(ask("x" * 60))
    assert (error.code.name, error.reason) == ("INVALID_ARGUMENT", "TEXT_INVALID")
    assert "gives up" in error.message
    await ask("hello")


async def test_who_waits_for_a_tokenizer_that_never_ends_is_told() -> None:
    thread, end = TextThread(limit_s=0.2), threading.Event()
    stuck = asyncio.create_task(thread.do(end.wait))
    behind = asyncio.create_task(thread.do(lambda: "never reached"))
    for each in (stuck, behind, thread.do(lambda: "nor this")):
        with pytest.raises(FailedPrecondition) as caught:
            await each
        assert caught.value.reason == "TOKENIZER_STUCK"
    end.set()

    async def again() -> bool:
        with suppress(FailedPrecondition):
            return await thread.do(lambda: True)
        return False

    await eventually(again)
    thread.close()
