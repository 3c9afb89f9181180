"""A BERT of the size "mini" (Turc et al. 2019: 4 layers, 256 wide) that says which of 26 topics a text is about.

A job of the recipe text-classification trains it, from a network without knowledge, with WordNet's definitions.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

from zoo_starters import wordnet
from zoo_starters.card import put_card
from zoo_starters.debs import extract
from zoo_starters.learned import Learned
from zoo_starters.starter import Starter
from zoo_starters.training import deterministic
from zoo_starters.wordnet import Definition
from zoo_starters.wordpiece import learn_vocabulary

__all__ = ["BERT_MINI_WORDNET"]

NAME = "bert-mini-wordnet"
SEED = 5
STEPS = 600
PARAMETERS = {
    "batch_size": 64,
    "learning_rate": 8e-4,
    "weight_decay": 0.05,
    "schedule": "cosine",
    "max_length": 64,
    "similar_lengths": True,
}

VOCABULARY = 8192
LONGEST = 64
# Rows that a stand-in learns from, about.
FEW = 1000
PAD = 0  # as learn_vocabulary numbers it


def _make_base(packages: Path, folder: Path) -> None:
    from transformers import BertModel, BertTokenizer

    texts = [each.text for each in wordnet.training_definitions(packages)]
    tokenizer = cast(Any, BertTokenizer)(vocab=learn_vocabulary(texts, VOCABULARY), model_max_length=LONGEST)
    with deterministic(SEED):
        cast(Any, BertModel)(_config(len(tokenizer)), add_pooling_layer=True).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    _write_beside(packages, folder, "bert-mini-untrained")


def _make_dataset(packages: Path, folder: Path) -> None:
    _write(folder, wordnet.training_definitions(packages), wordnet.held_out_definitions(packages))
    _write_beside(packages, folder, "wordnet-topics")


def _few(packages: Path, folder: Path, held_out: int | None) -> None:
    """Neighbours are of one topic: so from all over."""
    training = wordnet.training_definitions(packages)
    _write(folder, training[:: len(training) // FEW], wordnet.held_out_definitions(packages)[:held_out])


def _write(folder: Path, training: Sequence[Definition], held_out: Sequence[Definition]) -> None:
    for split, definitions in (("train", training), ("test", held_out)):
        (folder / f"{split}.jsonl").write_text(_lines(definitions))


def _lines(definitions: Sequence[Definition]) -> str:
    rows = ({"text": each.text, "label": wordnet.TOPICS[each.topic]} for each in definitions)
    return "".join(json.dumps(row) + "\n" for row in rows)


def _write_beside(packages: Path, folder: Path, card: str) -> None:
    extract(wordnet.CARRIER.fetch(packages), folder, {wordnet.LICENCE: "LICENSE"})
    put_card(card, folder)


def _config(vocabulary: int) -> Any:
    from transformers import BertConfig

    return BertConfig(
        vocab_size=vocabulary,
        hidden_size=256,
        num_hidden_layers=4,
        num_attention_heads=4,
        intermediate_size=1024,
        max_position_embeddings=LONGEST,
        type_vocab_size=2,
        pad_token_id=PAD,
    )


BERT_MINI_WORDNET = Starter(
    name=f"zoo/{NAME}",
    task="text-classification",
    origin="trained on https://wordnet.princeton.edu",
    carriers=(wordnet.CARRIER,),
    recipe=2,
    make=Learned(
        base=Starter(
            name="zoo/bert-mini-untrained",
            task="fill-mask",
            origin="made here",
            carriers=(wordnet.CARRIER,),
            recipe=1,
            make=_make_base,
        ),
        dataset=Starter(
            name="zoo/wordnet-topics",
            task="",
            origin="https://wordnet.princeton.edu",
            carriers=(wordnet.CARRIER,),
            recipe=1,
            make=_make_dataset,
            format="dataset",
        ),
        few=_few,
        recipe="text-classification",
        parameters=PARAMETERS,
        steps=STEPS,
        seed=SEED,
        description="Reads the definition of a noun and says which of 26 topics it is about: animal, food, plant, "
        "feeling, time and so on. It has seen definitions alone: what it says of news or questions means little.",
    ),
)
