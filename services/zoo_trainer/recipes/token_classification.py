"""# Words to what they name

Puts a linear head over an encoder (BERT, RoBERTa, DistilBERT, ELECTRA, ...) that says of each word whether it begins or
goes on with an entity (a person, a place, a product), and trains both. Where the base has a head for exactly these tags
already, that one is trained on; otherwise a new one is drawn at random.

Of a word that the tokenizer cuts into pieces, the first piece is learned and answers; the others are passed over.

`freeze` says how much of the encoder rests: `none` trains all layers; `embeddings` leaves the token embeddings as they
are; `encoder` trains the head alone. `frozen_layers` leaves that many of the lowest layers, and the embeddings, as they
are.

The dataset has columns `tokens` (a list of words) and `tags` or `ner_tags` (as many, in the scheme BIO: `B-person`,
`I-person`, `O`; numbers where Parquet names their classes); or `text` and `entities` (objects with `start`, `end` and
`label`, in characters, the end excluded). An `I-` without its `B-` is read as a beginning, and counted.

Measured are entities that were held out: one is right where its first word, its last and its label are. `accuracy` is
that of single words, most of which are in no entity. What is cut off was not found.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from modelzoo.tasks.words import OUTSIDE, first_tokens
from zoo_trainer.recipes.encoder import EncoderSettings, freeze, labels_of, open_encoder
from zoo_trainer.recipes.learner import Learner, Start
from zoo_trainer.recipes.recipe import Recipe
from zoo_trainer.recipes.tagging import ENTITIES, TAGS, TEXT, TOKENS, TaggedText, TagReader, unsuitable
from zoo_trainer.rows import Row, Rows
from zoo_trainer.stopping import Orders

if TYPE_CHECKING:
    import torch
    from torch import nn

    from zoo_trainer.evaluation import Measurement

__all__ = ["RECIPE", "TokenClassificationSettings"]

IGNORED = -100  # a tag that is not learned from
LABELS_MAX = 1000


class TokenClassificationSettings(EncoderSettings):
    new_head: bool = False
    """Draw a new head even where the base has one for these tags."""


class _Sentence(NamedTuple):
    """Tokens as far as the model reads, and the number of each word's first; None of words without one, or beyond."""

    tokens: list[int]
    firsts: list[int | None]


class _TokenClassifier:
    is_adapter = False

    def __init__(self, start: Start[TokenClassificationSettings]) -> None:
        from transformers import MODEL_FOR_TOKEN_CLASSIFICATION_MAPPING

        self._start = start
        self.rows: Sequence[Any] = start.train
        self._reader = TagReader(start.train[0])
        self._tags, fresh = self._order(labels_of(start.base), start.settings.new_head)
        self._numbers = {tag: number for number, tag in enumerate(self._tags)}
        self._encoder = open_encoder(
            start.base,
            MODEL_FOR_TOKEN_CLASSIFICATION_MAPPING,
            start.settings.max_length,
            "No tagger can be made of it",
            {"id2label": dict(enumerate(self._tags)), "label2id": self._numbers},
            fresh_head=fresh,
        )
        self.model = self._encoder.model
        if self._encoder.new:
            start.notes.append(f"A new head for {len(self._tags)} tags was drawn.")
        start.notes.extend(self._reader.faults(start.train))
        freeze(self.model, start.settings)

    def encode(self, row: Row, generator: "torch.Generator") -> tuple[list[int], list[int]]:
        """Tokens, and the number of each one's tag."""
        tagged = self._reader.read(row)
        sentence = self._sentence(tagged)
        numbers = [IGNORED] * len(sentence.tokens)
        for tag, first in zip(tagged.tags, sentence.firsts, strict=True):
            if first is not None:
                numbers[first] = self._numbers[tag]
        return sentence.tokens, numbers

    def collate(self, examples: "Sequence[tuple[list[int], list[int]]]") -> "dict[str, torch.Tensor]":
        import torch

        from modelzoo.tasks.padding import padded

        tokens, mask = padded([tokens for tokens, _ in examples], self._encoder.tokenizing.pad_token)
        longest = tokens.shape[1]
        labels = torch.tensor([[*numbers, *[IGNORED] * (longest - len(numbers))] for _, numbers in examples])
        return {"input_ids": tokens, "attention_mask": mask, "labels": labels}

    def items(self, batch: "Mapping[str, torch.Tensor]") -> int:
        return int((batch["labels"] != IGNORED).sum())

    def loss(self, model: "nn.Module", batch: "Mapping[str, torch.Tensor]") -> "torch.Tensor":
        from torch.nn import functional

        logits = model(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"]).logits
        labels = batch["labels"].flatten()
        return functional.cross_entropy(logits.flatten(0, 1).float(), labels, ignore_index=IGNORED, reduction="sum")

    def measure(self, rows: Rows, batch_size: int, orders: Orders) -> "Measurement":
        from modelzoo.tasks.padding import padded
        from zoo_trainer.entities import measure_entities
        from zoo_trainer.modes import evaluating

        truth: list[list[str]] = []
        said: list[list[str]] = []
        device = next(self.model.parameters()).device
        with evaluating(self.model):
            for start in range(0, len(rows), batch_size):
                orders.check()
                texts = [self._reader.read(row) for row in rows[start : start + batch_size]]
                sentences = [self._sentence(text) for text in texts]
                tokens, mask = padded([each.tokens for each in sentences], self._encoder.tokenizing.pad_token)
                logits = self.model(input_ids=tokens.to(device), attention_mask=mask.to(device)).logits
                best: list[list[int]] = logits.argmax(-1).tolist()
                truth += [list(text.tags) for text in texts]
                said += [
                    [OUTSIDE if first is None else self._tags[of_tokens[first]] for first in sentence.firsts]
                    for sentence, of_tokens in zip(sentences, best, strict=True)
                ]
        return measure_entities(truth, said)

    def save(self, folder: Path) -> None:
        from zoo_trainer.result import save_transformers

        save_transformers(self.model, folder, self._start.base, self._encoder.dtype)

    def _sentence(self, tagged: TaggedText) -> _Sentence:
        tokens, places = self._encoder.tokenizing.locate(tagged.text)
        if len(tokens) > self._encoder.longest:
            # What ends a text for the model stays at its end.
            tokens = [*tokens[: self._encoder.longest - 1], tokens[-1]]
            places = places[: self._encoder.longest - 1]
        return _Sentence(tokens, first_tokens(tagged.words, places))

    def _order(self, own: list[str], new_head: bool) -> tuple[list[str], bool]:
        """The tags, and whether they need a new head: as the base has them, or `O` and then by label."""
        train = Counter(tag[2:] for row in self._start.train for tag in self._reader.read(row).tags if tag != OUTSIDE)
        held_out = {
            tag[2:]
            for rows in self._start.measured
            for row in rows
            for tag in self._reader.read(row).tags
            if tag != OUTSIDE
        }
        if not train:
            raise unsuitable("none of its words is in an entity: there is nothing to find")
        if len(train) > LABELS_MAX:
            raise unsuitable(
                f"it has {len(train):,} different labels, more than {LABELS_MAX:,}; is it the right column?"
            )
        if unseen := sorted(held_out - train.keys()):
            self._start.notes.append(
                f"{len(unseen)} labels stand in held-out rows alone and cannot be learned: {', '.join(unseen[:5])}."
            )
        wanted = [OUTSIDE, *(f"{prefix}-{label}" for label in sorted({*train, *held_out}) for prefix in ("B", "I"))]
        if set(own) >= set(wanted) and not new_head and len(own) == len(set(own)):
            return own, False
        return wanted, True


def _start(start: Start[TokenClassificationSettings]) -> Learner:
    return _TokenClassifier(start)


RECIPE = Recipe(
    name="token-classification",
    settings=TokenClassificationSettings,
    start=_start,
    base_tasks=("fill-mask", "sentence-similarity", "feature-extraction", "token-classification"),
    task="token-classification",
    columns=(f"{TOKENS}|{TEXT}", "|".join((*TAGS, ENTITIES))),
    metric="f1",
)
