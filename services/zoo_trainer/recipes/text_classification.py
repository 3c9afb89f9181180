"""# Texts to labels

Puts a linear head over an encoder (BERT, RoBERTa, DistilBERT, ELECTRA, ...) and trains both with labelled texts. Where
the base has a head for exactly these labels already, that one is trained on; otherwise a new one is drawn at random.

`freeze` says how much of the encoder rests: `none` trains all layers; `embeddings` leaves the token embeddings as they
are; `encoder` trains the head alone (a linear probe), which is fast, stores a few kilobytes, and is often enough where
there are few rows. `frozen_layers` leaves that many of the lowest layers, and the embeddings, as they are.

The dataset has a column of texts (`text`, `sentence` or `content`) and one of labels (`label`, `category` or `class`).
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from modelzoo.errors import InvalidArgument
from zoo_trainer.recipes.columns import column_of, text_of
from zoo_trainer.recipes.encoder import EncoderSettings, freeze, labels_of, open_encoder
from zoo_trainer.recipes.learner import Learner, Start
from zoo_trainer.recipes.recipe import Recipe
from zoo_trainer.rows import Row, Rows
from zoo_trainer.stopping import Orders

if TYPE_CHECKING:
    import torch
    from torch import nn

    from zoo_trainer.evaluation import Measurement

__all__ = ["RECIPE", "TextClassificationSettings"]

TEXTS, LABELS = ("text", "sentence", "content"), ("label", "category", "class")
LABELS_MAX = 10_000


class TextClassificationSettings(EncoderSettings):
    class_weights: bool = False
    """Weigh each label by how rare it is, so that rare ones are not passed over."""
    new_head: bool = False
    """Draw a new head even where the base has one for these labels."""


class _TextClassifier:
    is_adapter = False

    def __init__(self, start: Start[TextClassificationSettings]) -> None:
        from transformers import MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING

        self._start = start
        self.rows: Sequence[Any] = start.train
        first = start.train[0]
        self._text, self._label = column_of(first, TEXTS), column_of(first, LABELS)
        self._labels, fresh = self._order(labels_of(start.base), start.settings.new_head)
        self._numbers = {label: number for number, label in enumerate(self._labels)}
        changes: dict[str, Any] = {
            "id2label": dict(enumerate(self._labels)),
            "label2id": self._numbers,
            "problem_type": "single_label_classification",
        }
        self._encoder = open_encoder(
            start.base,
            MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING,
            start.settings.max_length,
            "No text classifier can be made of it",
            changes,
            fresh_head=fresh,
        )
        self.model = self._encoder.model
        if self._encoder.new:
            start.notes.append(f"A new head for {len(self._labels)} labels was drawn.")
        freeze(self.model, start.settings)
        self._weights = self._class_weights() if start.settings.class_weights else None

    def encode(self, row: Row, generator: "torch.Generator") -> tuple[list[int], int]:
        return self._tokens(row), self._number(row)

    def collate(self, examples: Sequence[tuple[list[int], int]]) -> "dict[str, torch.Tensor]":
        import torch

        from modelzoo.tasks.padding import padded

        tokens, mask = padded([tokens for tokens, _ in examples], self._encoder.tokenizing.pad_token)
        labels = torch.tensor([number for _, number in examples])
        return {"input_ids": tokens, "attention_mask": mask, "labels": labels}

    def items(self, batch: "Mapping[str, torch.Tensor]") -> int:
        return len(batch["labels"])

    def loss(self, model: "nn.Module", batch: "Mapping[str, torch.Tensor]") -> "torch.Tensor":
        from torch.nn import functional

        logits = model(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"]).logits
        weights = None if self._weights is None else self._weights.to(logits.device)
        return functional.cross_entropy(logits.float(), batch["labels"], weight=weights, reduction="sum")

    def measure(self, rows: Rows, batch_size: int, orders: Orders) -> "Measurement":
        import torch

        from modelzoo.tasks.padding import padded
        from zoo_trainer.evaluation import measure_classes
        from zoo_trainer.modes import evaluating

        truth: list[int] = []
        said: list[int] = []
        with evaluating(self.model):
            for start in range(0, len(rows), batch_size):
                orders.check()
                batch = rows[start : start + batch_size]
                tokens, mask = padded([self._tokens(row) for row in batch], self._encoder.tokenizing.pad_token)
                device = next(self.model.parameters()).device
                logits = self.model(input_ids=tokens.to(device), attention_mask=mask.to(device)).logits
                said += cast(list[int], cast(Any, torch.argmax(logits, dim=1)).tolist())
                truth += [self._number(row) for row in batch]
        return measure_classes(self._labels, truth, said)

    def save(self, folder: Path) -> None:
        from zoo_trainer.result import save_transformers

        save_transformers(self.model, folder, self._start.base, self._encoder.dtype)

    def _order(self, own: list[str], new_head: bool) -> tuple[list[str], bool]:
        """The labels, and whether they need a new head: as the base has them, or in alphabetical order."""
        train = Counter(self._name(row) for row in self._start.train)
        held_out = {self._name(row) for row in self._start.held_out}
        if len(train) < 2:
            raise _unsuitable(
                f"all rows have the same label, {next(iter(train), '')!a}: there is nothing to tell apart"
            )
        if len(train) > LABELS_MAX:
            raise _unsuitable(
                f"it has {len(train):,} different labels, more than {LABELS_MAX:,}; is it the right column?"
            )
        if unseen := sorted(held_out - train.keys()):
            self._start.notes.append(
                f"{len(unseen)} labels stand in held-out rows alone and cannot be learned: {', '.join(unseen[:5])}."
            )
        found = {*train, *held_out}
        if set(own) >= found and not new_head and len(own) == len(set(own)):
            return own, False
        return sorted(found), True

    def _class_weights(self) -> "torch.Tensor":
        """Over the rows of each label, the mean of them; their mean over all rows is 1."""
        import torch

        counts = Counter(self._name(row) for row in self._start.train)
        present = [label for label in self._labels if counts[label]]
        rows = len(self._start.train) / len(present)
        return torch.tensor([rows / counts[label] if counts[label] else 0.0 for label in self._labels])

    def _tokens(self, row: Row) -> list[int]:
        return self._encoder.tokens(text_of(row, self._text))

    def _name(self, row: Row) -> str:
        label = row.get(self._label)
        if label is None or isinstance(label, list | dict):
            raise _unsuitable(f"a row has no {self._label}: {str(row)[:200]!a}")
        return str(label)

    def _number(self, row: Row) -> int:
        return self._numbers[self._name(row)]


def _unsuitable(why: str) -> InvalidArgument:
    return InvalidArgument("DATASET_UNSUITABLE", f"No text classifier can learn from this dataset: {why}.")


def _start(start: Start[TextClassificationSettings]) -> Learner:
    return _TextClassifier(start)


RECIPE = Recipe(
    name="text-classification",
    settings=TextClassificationSettings,
    start=_start,
    base_tasks=("fill-mask", "sentence-similarity", "feature-extraction", "text-classification"),
    task="text-classification",
    columns=("|".join(TEXTS), "|".join(LABELS)),
    metric="accuracy",
)
