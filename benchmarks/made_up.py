"""Models of any size with random weights, and made-up texts about topics that they can learn to tell apart."""

import json
import random
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace
from transformers import (
    BertConfig,
    BertModel,
    BertTokenizer,
    GPT2Config,
    GPT2LMHeadModel,
    PreTrainedTokenizerFast,
)

__all__ = ["TINY_BERT", "TINY_GPT2", "made_up_texts", "write_encoder", "write_gpt2", "write_rows"]

TINY_BERT: Mapping[str, int] = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 64,
}
TINY_GPT2: Mapping[str, int] = {"n_embd": 32, "n_layer": 2, "n_head": 2}
VOCABULARY = 30_522
SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
TOPICS, WORDS = 8, 4_000


def write_encoder(folder: Path, size: Mapping[str, int] | None = None, seed: int = 0) -> Path:
    """A BertModel, bert-base where no size is given, and a tokenizer that has every word of `made_up_texts`.

    Returns `folder`, as all of these do.
    """
    torch.manual_seed(seed)
    words = [*SPECIAL, *(f"w{number}" for number in range(WORDS))]
    unused = [f"[unused{number}]" for number in range(VOCABULARY - len(words))]
    vocabulary = {word: number for number, word in enumerate([*words, *unused])}
    BertModel(BertConfig(vocab_size=VOCABULARY, **(size or {}))).save_pretrained(folder)
    BertTokenizer(vocab=vocabulary, model_max_length=512).save_pretrained(folder)
    return folder


def write_gpt2(folder: Path, size: Mapping[str, int] | None = None, seed: int = 0) -> Path:
    """A GPT-2, of 124 million parameters where no size is given, and a tokenizer of its own."""
    torch.manual_seed(seed)
    config = GPT2Config(bos_token_id=0, eos_token_id=0, pad_token_id=0, **(size or {}))
    words = ["<end>", *(f"w{number}" for number in range(WORDS))]
    vocabulary = {word: number for number, word in enumerate(words)}
    tokenizer = Tokenizer(WordLevel(vocabulary, unk_token="<end>"))
    tokenizer.pre_tokenizer = Whitespace()
    marks = dict.fromkeys(("bos_token", "eos_token", "unk_token", "pad_token"), "<end>")
    GPT2LMHeadModel(config).save_pretrained(folder)
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, model_max_length=config.n_positions, **marks).save_pretrained(
        folder
    )
    return folder


def made_up_texts(count: int, words: int, seed: int) -> list[dict[str, str]]:
    """Rows of `text`, so many words each, and `label`: half of a text's words are of its topic alone."""
    draw = random.Random(seed)
    own = WORDS // 2 // TOPICS
    rows: list[dict[str, str]] = []
    for number in range(count):
        topic = number % TOPICS
        drawn = [
            draw.randrange(topic * own, (topic + 1) * own) if draw.random() < 0.5 else draw.randrange(WORDS // 2, WORDS)
            for _ in range(words)
        ]
        rows.append({"text": " ".join(f"w{each}" for each in drawn), "label": f"topic-{topic}"})
    return rows


def write_rows(folder: Path, **splits: Sequence[Mapping[str, str]]) -> Path:
    """A dataset of JSON Lines."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, rows in splits.items():
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder
