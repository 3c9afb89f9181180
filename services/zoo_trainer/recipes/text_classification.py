"""# Texts to labels

Puts a linear head over an encoder (BERT, RoBERTa, DistilBERT, ELECTRA, ...) and trains both with labelled texts. Where
the base has a head for exactly these labels already, that one is trained on; otherwise a new one is drawn at random.

`freeze` says how much of the encoder rests: `none` trains all layers; `embeddings` leaves the token embeddings as they
are; `encoder` trains the head alone (a linear probe), which is fast, stores a few kilobytes, and is often enough where
there are few rows. `frozen_layers` leaves that many of the lowest layers, and the embeddings, as they are.

The dataset has a column of texts (`text`, `sentence` or `content`) and one of labels (`label`, `category` or `class`).
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from zoo_trainer.recipes.class_labels import LABELS, find_classes
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

TEXTS = ("text", "sentence", "content")


class TextClassificationSettings(EncoderSettings):
    class_weights: bool = False
    """Weigh each label by how rare it is, so that rare ones are not passed over."""
    similar_lengths: bool = False
    """Learn from texts of similar length together: little is padded, so steps are faster where lengths differ much."""
    new_head: bool = False
    """Draw a new head even where the base has one for these labels."""


class _TextClassifier:
    is_adapter = False

    def __init__(self, start: Start[TextClassificationSettings]) -> None:
        from transformers import MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING

        self._start = start
        self.rows: Sequence[Any] = start.train
        first = start.train[0]
        self._text = column_of(first, TEXTS)
        own = [] if start.settings.new_head else labels_of(start.base)
        self._classes = find_classes(start, column_of(first, LABELS), own)
        self.sizes = [len(text_of(row, self._text)) for row in start.train] if start.settings.similar_lengths else None
        self._encoder = open_encoder(
            start.base,
            MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING,
            start.settings.max_length,
            "No text classifier can be made of it",
            self._classes.config(),
            fresh_head=not self._classes.are_own,
        )
        self.model = self._encoder.model
        if self._encoder.new:
            start.notes.append(f"A new head for {len(self._classes.names)} labels was drawn.")
        freeze(self.model, start.settings)
        self._weights = self._classes.weights() if start.settings.class_weights else None

    def encode(self, row: Row, generator: "torch.Generator") -> tuple[list[int], int]:
        return self._tokens(row), self._classes.number(row)

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
                truth += [self._classes.number(row) for row in batch]
        return measure_classes(list(self._classes.names), truth, said)

    def save(self, folder: Path) -> None:
        from zoo_trainer.result import save_transformers

        save_transformers(self.model, folder, self._start.base, self._encoder.dtype)

    def _tokens(self, row: Row) -> list[int]:
        return self._encoder.tokens(text_of(row, self._text))


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
