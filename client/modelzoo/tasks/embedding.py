"""Texts to vectors, as the model's own files say (the layout of sentence-transformers).

modules.json names the steps, 1_Pooling/config.json how token vectors become one, sentence_bert_config.json the longest
input. A model without them is pooled by the mean and not normalised, which is what that library does with it too.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import Enum
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any, cast

import torch
from torch import Tensor

from modelzoo.errors import FailedPrecondition
from modelzoo.loading import read_json
from modelzoo.tasks.context import context_of
from modelzoo.tasks.files import ModelFiles
from modelzoo.tasks.labels import check_finite
from modelzoo.tasks.padding import padded
from modelzoo.tasks.task import Task
from modelzoo.tasks.tokenizing import Tokenizing

__all__ = ["Encoder", "Pooling", "SentenceFiles", "TextEncoder"]

MODES = "pooling_mode_"


class Pooling(Enum):
    """How the vectors of tokens become one."""

    MEAN = "mean_tokens"
    CLS = "cls_token"


@dataclass(frozen=True, slots=True)
class SentenceFiles:
    """What the files say. `longest` is None where they say nothing; `prefix` is put before every text."""

    pooling: Pooling = Pooling.MEAN
    normalise: bool = False
    longest: int | None = None
    lower_case: bool = False
    prefix: str = ""

    @classmethod
    def read(cls, path: Path) -> "SentenceFiles":
        """Raises MODEL_UNSUPPORTED for steps that are not computed here, MODEL_LOAD_FAILED for damaged files."""
        modules = read_json(path / "modules.json")
        if modules is None:
            return cls()
        try:
            steps = {str(module["type"]).rpartition(".")[2]: str(module["path"]) for module in modules}
        except (TypeError, KeyError) as error:
            raise FailedPrecondition("MODEL_LOAD_FAILED", "modules.json is not a list of steps.") from error
        unknown = sorted(steps.keys() - {"Transformer", "Pooling", "Normalize"})
        if unknown:
            raise _unsupported(f"its modules.json has a step {unknown[0][:80]!a}")
        settings = _object(path / "sentence_bert_config.json")
        prompts = _object(path / "config_sentence_transformers.json")
        name = prompts.get("default_prompt_name")
        return cls(
            pooling=_pooling(path, steps["Pooling"]) if "Pooling" in steps else Pooling.MEAN,
            normalise="Normalize" in steps,
            longest=settings.get("max_seq_length"),
            lower_case=bool(settings.get("do_lower_case")),
            prefix=str(prompts.get("prompts", {}).get(name, "")) if name else "",
        )

    def written(self, text: str) -> str:
        """The text as the model's tokenizer is to read it."""
        text = self.prefix + text
        return text.lower() if self.lower_case else text

    def pool(self, hidden: Tensor, mask: Tensor) -> Tensor:
        """One vector of each row: [rows, tokens, width] -> [rows, width]."""
        if self.pooling is Pooling.CLS:
            vectors = hidden[:, 0]
        else:
            counted = mask.unsqueeze(-1).to(hidden.dtype)
            vectors = (hidden * counted).sum(1) / counted.sum(1).clamp(min=1e-9)
        return torch.nn.functional.normalize(vectors, dim=-1) if self.normalise else vectors


class TextEncoder:
    """Texts of at most `context` tokens to vectors. `prepare` may be called from several threads at once; `compute`
    belongs to one at a time.
    """

    task = Task.EMBED

    def __init__(self, files: ModelFiles) -> None:
        """Raises MODEL_UNSUPPORTED, MODEL_LOAD_FAILED."""
        sentences = SentenceFiles.read(files.path)
        self._tokenizing = Tokenizing(files.processor)
        self._encoder = Encoder(files.model, sentences, self._tokenizing.pad_token)
        context = context_of(files.model.config, self._tokenizing)
        self.context = min(context, self._tokenizing.longest, sentences.longest or context)
        self.size_bytes = files.size_bytes
        self._encoder.check(self.context)

    def prepare(self, text: str) -> list[int]:
        """Tokens of the whole text, special ones included, however many."""
        return self._encoder.prepare(partial(self._tokenizing.encode, add_special_tokens=True), text)

    def cost(self, item: Sequence[int]) -> int:
        """What the item adds to a batch: tokens."""
        return len(item)

    def compute(self, batch: Sequence[Sequence[int]]) -> list[list[float]]:
        """A vector for each item."""
        return self._encoder.encode(batch)


class Encoder:
    """A transformers encoder and its pooling. `encode` belongs to one thread at a time."""

    def __init__(self, model: Any, files: SentenceFiles, pad_token: int) -> None:
        self._model = model.base_model
        self._files = files
        self._pad_token = pad_token

    def encode(self, batch: Sequence[Sequence[int]]) -> list[list[float]]:
        """A float32 vector for each list of tokens. Raises ValueError where the model computes what is no number."""
        tokens, mask = padded(batch, self._pad_token)
        with torch.inference_mode():
            output = self._model(input_ids=tokens, attention_mask=mask)
            vectors = self._files.pool(output.last_hidden_state.float(), mask)
        check_finite(vectors)
        return cast(Any, vectors).tolist()

    def check(self, longest: int) -> None:
        """Compute an input of `longest` tokens; MODEL_LOAD_FAILED where the model cannot."""
        try:
            self.encode([[self._pad_token] * longest])
        except (IndexError, RuntimeError, TypeError, ValueError, AttributeError) as error:
            raise FailedPrecondition(
                "MODEL_LOAD_FAILED",
                f"The model fails over an input of the {longest} tokens that its files allow: {error}",
            ) from error

    def prepare(self, encode: Callable[[str], list[int]], text: str) -> list[int]:
        """The text's tokens, never shortened."""
        return encode(self._files.written(text))


def _pooling(path: Path, folder: str) -> Pooling:
    if folder.startswith("/") or ".." in PurePosixPath(folder).parts:
        raise _unsupported("its modules.json names a folder elsewhere")
    config = _object(path / folder / "config.json")
    modes = [key.removeprefix(MODES) for key, on in config.items() if key.startswith(MODES) and on is True]
    known = {pooling.value: pooling for pooling in Pooling}
    if len(modes) != 1 or modes[0] not in known:
        raise _unsupported(f"its pooling is {' and '.join(modes) or 'of an unknown kind'}, not mean or cls")
    return known[modes[0]]


def _object(path: Path) -> dict[str, Any]:
    content = read_json(path)
    return cast(dict[str, Any], content) if isinstance(content, dict) else {}


def _unsupported(why: str) -> FailedPrecondition:
    return FailedPrecondition("MODEL_UNSUPPORTED", f"This model cannot embed here: {why}.")
