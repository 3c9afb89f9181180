"""A GPT-2 in small (4 layers, 256 wide) that goes on in the English of the King James Version.

A job of the recipe causal-lm trains it, from a network without knowledge, with the chapters end to end.
"""

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, cast

from zoo_starters import kjv
from zoo_starters.card import put_card
from zoo_starters.debs import extract
from zoo_starters.kjv import Chapter
from zoo_starters.learned import Learned
from zoo_starters.starter import Starter
from zoo_starters.training import deterministic

__all__ = ["GPT2_MINI"]

NAME = "gpt2-mini"
SEED = 3
STEPS = 400
CONTEXT = 256
PARAMETERS = {
    "method": "full",
    "packing": True,
    "max_length": CONTEXT,
    "batch_size": 8,
    "learning_rate": 1.5e-3,
    "weight_decay": 0.05,
    "schedule": "cosine",
}

END = "<|endoftext|>"
VOCABULARY = 2048
WIDTH, LAYERS, HEADS = 256, 4, 4
# Chapters that a stand-in learns from.
FEW = 40
# Of a held-out row, which must fit into the context whole; a token has about four characters.
CHARACTERS_MAX = 600


def _make_base(packages: Path, folder: Path) -> None:
    from transformers import GPT2LMHeadModel

    tokenizer = _tokenizer([chapter.text for chapter in kjv.training_chapters(packages)])
    with deterministic(SEED):
        cast(Any, GPT2LMHeadModel)(_config(tokenizer)).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    _write_beside(packages, folder, "gpt2-mini-untrained")


def _make_dataset(packages: Path, folder: Path) -> None:
    _write(folder, kjv.training_chapters(packages), _held_out_parts(packages))
    _write_beside(packages, folder, "kjv")


def _few(packages: Path, folder: Path, held_out: int | None) -> None:
    _write(folder, kjv.training_chapters(packages)[:FEW], _held_out_parts(packages)[:held_out])


def _write(folder: Path, training: Sequence[Chapter], held_out: Sequence[str]) -> None:
    for split, texts in (("train", [chapter.text for chapter in training]), ("test", held_out)):
        (folder / f"{split}.jsonl").write_text(_lines(texts))


def _held_out_parts(packages: Path) -> list[str]:
    """Parts of chapters that fit into the context, unlike chapters."""
    return [part for chapter in kjv.held_out_chapters(packages) for part in _parts(chapter)]


def _parts(chapter: Chapter) -> list[str]:
    """Verses in portions of at most CHARACTERS_MAX, or one that is longer."""
    parts: list[str] = []
    for verse in chapter.verses:
        if parts and len(parts[-1]) + len(verse) < CHARACTERS_MAX:
            parts[-1] += f"\n{verse}"
        else:
            parts.append(verse)
    return parts


def _lines(texts: Iterable[str]) -> str:
    return "".join(json.dumps({"text": text}) + "\n" for text in texts)


def _write_beside(packages: Path, folder: Path, card: str) -> None:
    extract(kjv.CARRIER.fetch(packages), folder, {kjv.LICENCE: "LICENSE"})
    put_card(card, folder)


def _tokenizer(texts: Sequence[str]) -> Any:
    """Byte-level BPE, learned from `texts`; `END` is the only special token, at number 0."""
    from tokenizers import ByteLevelBPETokenizer
    from transformers import PreTrainedTokenizerFast

    learned = ByteLevelBPETokenizer()
    learned.train_from_iterator(texts, vocab_size=VOCABULARY, show_progress=False, special_tokens=[END])
    return PreTrainedTokenizerFast(
        tokenizer_object=learned._tokenizer,
        bos_token=END,
        eos_token=END,
        unk_token=END,
        pad_token=END,
        model_max_length=CONTEXT,
    )


def _config(tokenizer: Any) -> Any:
    from transformers import GPT2Config

    return GPT2Config(
        vocab_size=len(tokenizer),
        n_positions=CONTEXT,
        n_embd=WIDTH,
        n_layer=LAYERS,
        n_head=HEADS,
        resid_pdrop=0.0,
        embd_pdrop=0.0,
        attn_pdrop=0.0,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )


GPT2_MINI = Starter(
    name=f"zoo/{NAME}",
    task="text-generation",
    origin="trained on the King James Version, https://tracker.debian.org/pkg/bible-kjv",
    carriers=(kjv.CARRIER,),
    recipe=2,
    make=Learned(
        base=Starter(
            name="zoo/gpt2-mini-untrained",
            task="text-generation",
            origin="made here",
            carriers=(kjv.CARRIER,),
            recipe=1,
            make=_make_base,
        ),
        dataset=Starter(
            name="zoo/king-james-version",
            task="",
            origin="https://tracker.debian.org/pkg/bible-kjv",
            carriers=(kjv.CARRIER,),
            recipe=1,
            make=_make_dataset,
            format="dataset",
        ),
        few=_few,
        recipe="causal-lm",
        parameters=PARAMETERS,
        steps=STEPS,
        seed=SEED,
        description="Goes on in the English of the King James Version, of which it has read most chapters for a few "
        "minutes: the words are right, the sense is not.",
    ),
)
