"""A BERT of the size "mini" (Turc et al. 2019: 4 layers, 256 wide) that says which of 26 topics a text is about."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from zoo_starters import wordnet
from zoo_starters.card import write_card
from zoo_starters.debs import extract
from zoo_starters.starter import Measured, Starter, Training, items_measured
from zoo_starters.training import Plan, deterministic, fit
from zoo_starters.wordpiece import learn_vocabulary

if TYPE_CHECKING:
    import torch

__all__ = ["BERT_MINI_WORDNET"]

NAME = "bert-mini-wordnet"
SEED = 5
STEPS = 600
BATCH = 64
PEAK_RATE = 8e-4

VOCABULARY = 8192
LONGEST = 64
PAD = 0  # as learn_vocabulary numbers it
# Definitions are drawn by so many batches' worth and sorted by length, so that little is padded.
POOL = 20
BATCH_MEASURED = 256
TOP = 3


def _train(packages: Path, folder: Path, steps: int) -> None:
    import torch

    definitions = wordnet.training_definitions(packages)
    tokenizer = _tokenizer([each.text for each in definitions])
    plan = Plan(SEED, steps, BATCH, PEAK_RATE)
    with deterministic(SEED) as generator:
        model = _fresh(_config(tokenizer))
        encoded = _encode(tokenizer, [each.text for each in definitions])
        topics = torch.tensor([each.topic for each in definitions])
        batches = _batches(encoded, topics, generator)

        def next_loss() -> torch.Tensor:
            inputs, labels = next(batches)
            return model(**inputs, labels=labels).loss

        trained = fit(model, plan, next_loss, NAME)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    extract(wordnet.CARRIER.fetch(packages), folder, {wordnet.LICENCE: "LICENSE"})
    write_card(folder, NAME, trained, STEPS, _measure(packages, folder, items_measured(steps, STEPS)))


def _measure(packages: Path, folder: Path, most: int | None = None) -> tuple[Measured, ...]:
    import torch
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    tokenizer = cast(Any, AutoTokenizer).from_pretrained(folder)
    model = cast(Any, AutoModelForSequenceClassification).from_pretrained(folder)
    definitions = wordnet.held_out_definitions(packages)[:most]
    encoded = _encode(tokenizer, [each.text for each in definitions])
    topics = torch.tensor([each.topic for each in definitions])
    commonest = torch.bincount(topics, minlength=len(wordnet.TOPICS)).argsort(descending=True)
    with deterministic(SEED):
        ranked = _ranked(model, encoded)
        untrained = _ranked(_fresh(model.config).eval(), encoded)

    def share(found: torch.Tensor) -> float:
        return (found == topics[:, None]).any(dim=1).float().mean().item()

    return tuple(
        Measured(
            metric=metric,
            on="held-out definitions",
            items=len(definitions),
            trained=share(ranked[:, :top]),
            baseline=share(commonest[:top].expand(len(topics), top)),
            baseline_name=f"always {', '.join(wordnet.TOPICS[int(each)] for each in commonest[:top])}",
            untrained=share(untrained[:, :top]),
        )
        for metric, top in (("accuracy", 1), (f"accuracy of the best {TOP}", TOP))
    )


def _tokenizer(texts: list[str]) -> Any:
    from transformers import BertTokenizer

    return cast(Any, BertTokenizer)(vocab=learn_vocabulary(texts, VOCABULARY), model_max_length=LONGEST)


def _config(tokenizer: Any) -> Any:
    from transformers import BertConfig

    return BertConfig(
        vocab_size=len(tokenizer),
        hidden_size=256,
        num_hidden_layers=4,
        num_attention_heads=4,
        intermediate_size=1024,
        max_position_embeddings=LONGEST,
        type_vocab_size=2,
        pad_token_id=PAD,
        id2label=dict(enumerate(wordnet.TOPICS)),
        label2id={topic: number for number, topic in enumerate(wordnet.TOPICS)},
    )


def _fresh(config: Any) -> Any:
    from transformers import BertForSequenceClassification

    return BertForSequenceClassification(config)


def _encode(tokenizer: Any, texts: list[str]) -> "list[torch.Tensor]":
    import torch

    return [torch.tensor(ids) for ids in tokenizer(texts, truncation=True, max_length=LONGEST)["input_ids"]]


def _batches(
    encoded: "list[torch.Tensor]", topics: "torch.Tensor", generator: "torch.Generator"
) -> "Iterator[tuple[dict[str, torch.Tensor], torch.Tensor]]":
    while True:
        order = _shuffled(len(encoded), generator)
        for pool in _cut(order, POOL * BATCH):
            batches = _cut(sorted(pool, key=lambda number: len(encoded[number])), BATCH)
            for number in _shuffled(len(batches), generator):
                chosen = batches[number]
                yield _padded([encoded[each] for each in chosen]), topics[chosen]


def _shuffled(count: int, generator: "torch.Generator") -> list[int]:
    import torch

    return cast(list[int], cast(Any, torch.randperm(count, generator=generator)).tolist())


def _cut(numbers: list[int], size: int) -> list[list[int]]:
    return [numbers[start : start + size] for start in range(0, len(numbers), size)]


def _padded(sequences: "list[torch.Tensor]") -> "dict[str, torch.Tensor]":
    import torch
    from torch.nn.utils.rnn import pad_sequence

    mask = [torch.ones_like(each) for each in sequences]
    return {
        "input_ids": pad_sequence(sequences, batch_first=True, padding_value=PAD),
        "attention_mask": pad_sequence(mask, batch_first=True),
    }


def _ranked(model: Any, encoded: "list[torch.Tensor]") -> "torch.Tensor":
    """Topics from the likeliest to the least likely, (n, 26)."""
    import torch

    order = sorted(range(len(encoded)), key=lambda number: len(encoded[number]))
    ranked = torch.empty(len(encoded), len(wordnet.TOPICS), dtype=torch.int64)
    with torch.inference_mode():
        for chosen in _cut(order, BATCH_MEASURED):
            logits = model(**_padded([encoded[each] for each in chosen])).logits
            ranked[chosen] = logits.argsort(dim=1, descending=True)
    return ranked


BERT_MINI_WORDNET = Starter(
    name=f"zoo/{NAME}",
    task="text-classification",
    origin="trained on https://wordnet.princeton.edu",
    carriers=(wordnet.CARRIER,),
    recipe=1,
    make=Training(STEPS, _train, _measure),
)
