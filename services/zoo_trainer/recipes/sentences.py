"""What recipes for sentence encoders share: texts to vectors, as the base's own files say, and the files of the result.

The layout is sentence-transformers': modules.json, 1_Pooling/config.json, sentence_bert_config.json. A base without it
is pooled by the mean, which is what serving it does, too.
"""

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from modelzoo.errors import FailedPrecondition
from zoo_trainer.recipes.encoder import freeze_layers, open_encoder
from zoo_trainer.recipes.settings import TrainingSettings
from zoo_trainer.stopping import Orders

if TYPE_CHECKING:
    import torch
    from torch import nn

__all__ = ["BASE_TASKS", "SentenceEncoder", "SentenceSettings"]

BASE_TASKS = ("sentence-similarity", "feature-extraction", "fill-mask")
# Beside those that any model of the base keeps.
FILES = ("modules.json", "sentence_bert_config.json", "config_sentence_transformers.json", "[0-9]_*/config.json")


class SentenceSettings(TrainingSettings):
    """Of recipes that train sentence encoders."""

    epochs: Annotated[float, Field(gt=0, le=100_000)] = 1.0
    """Times through the training split, where the job's budget says nothing."""
    batch_size: Annotated[int, Field(ge=2, le=65_536)] = 32
    """Examples of one optimizer step."""
    learning_rate: Annotated[float, Field(gt=0, le=1_000)] = 2e-5
    """Highest step size of AdamW."""
    max_length: Annotated[int, Field(ge=8, le=8192)] = 128
    """Tokens of a text that are read; the rest is cut off. The base's own limit holds, too."""
    frozen_layers: Annotated[int, Field(ge=0, le=1000)] = 0
    """How many of the lowest layers stay as they are, and the embeddings with them."""


class SentenceEncoder:
    """The base's encoder and its pooling. Vectors have length 1: what is compared is the angle between them."""

    def __init__(self, base: Path, settings: SentenceSettings) -> None:
        """Raises BASE_UNSUITABLE."""
        from transformers import MODEL_MAPPING

        from modelzoo.tasks.embedding import SentenceFiles
        from modelzoo.tasks.files import architecture_of
        from modelzoo.tasks.task import Task, task_of

        refusal = "No sentence encoder can be made of it"
        self._base = base
        try:
            if task_of(architecture_of(base)) is not Task.EMBED:
                raise FailedPrecondition("BASE_UNSUITABLE", f"{refusal}: choose an encoder of texts without a head.")
            self._files = SentenceFiles.read(base)
        except FailedPrecondition as error:
            raise FailedPrecondition("BASE_UNSUITABLE", f"{refusal}: {error.message}") from error
        longest = min(settings.max_length, self._files.longest or settings.max_length)
        self._opened = open_encoder(base, MODEL_MAPPING, longest, refusal)
        self.model = self._opened.model
        if settings.frozen_layers:
            freeze_layers(self.model, settings.frozen_layers)
        # A layer over the first token's vector, which no pooling here asks for.
        if (pooler := getattr(self.model, "pooler", None)) is not None:
            pooler.requires_grad_(False)

    def tokens(self, text: str) -> list[int]:
        """Of a text, as far as the model reads it."""
        return self._opened.tokens(self._files.written(text))

    def padded(self, texts: Sequence[Sequence[int]], name: str) -> "dict[str, torch.Tensor]":
        """Tokens as a part of a batch, which `vectors` finds by its name."""
        from modelzoo.tasks.padding import padded

        tokens, mask = padded(texts, self._opened.tokenizing.pad_token)
        return {name: tokens, f"{name}_mask": mask}

    def vectors(self, model: "nn.Module", batch: "Mapping[str, torch.Tensor]", name: str) -> "torch.Tensor":
        """[rows, width], float32, of length 1. `model` is this model, or what runs it."""
        from torch.nn import functional

        mask = batch[f"{name}_mask"]
        hidden = model(input_ids=batch[name], attention_mask=mask).last_hidden_state.float()
        return functional.normalize(self._files.pool(hidden, mask), dim=-1)

    def embed(self, texts: Sequence[str], batch_size: int, orders: Orders) -> "torch.Tensor":
        """[texts, width] on the CPU, without gradients. Raises Stopped."""
        import torch

        from zoo_trainer.modes import evaluating

        found: list[torch.Tensor] = []
        device = next(self.model.parameters()).device
        with evaluating(self.model):
            for start in range(0, len(texts), batch_size):
                orders.check()
                tokens = [self.tokens(text) for text in texts[start : start + batch_size]]
                batch = {name: each.to(device) for name, each in self.padded(tokens, "texts").items()}
                found.append(self.vectors(self.model, batch, "texts").cpu())
        return torch.cat(found)

    def save(self, folder: Path) -> None:
        """Leave the model and all that says how to pool it."""
        from zoo_trainer.result import save_transformers

        save_transformers(self.model, folder, self._base, self._opened.dtype)
        for pattern in FILES:
            for source in self._base.glob(pattern):
                target = folder / source.relative_to(self._base)
                target.parent.mkdir(exist_ok=True)
                shutil.copyfile(source, target)
