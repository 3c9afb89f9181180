"""# Text to more text

Teaches a language model to go on as the dataset's texts do. `method` is `lora`, which trains small matrices beside the
linear layers (PEFT) and publishes them alone, as an adapter of the base; or `full`, which trains every layer.

The dataset has a column `messages` (a list of `role` and `content`, made into text by the base's own chat template),
or columns `prompt` and `completion`, or a column of plain texts (`text`, `sentence` or `content`). Of messages and
completions, only what the model is to say is learned, unless `learn_prompts` says otherwise.

With `packing`, texts are laid end to end and cut into pieces of `max_length` tokens, so that nothing is padded;
otherwise each text is an example of its own, cut off at `max_length`.
"""

from array import array
from collections.abc import Mapping, Sequence
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple, cast, overload

from pydantic import Field

from modelzoo.errors import FailedPrecondition, InvalidArgument
from zoo_trainer.recipes.chat import Conversation, Said
from zoo_trainer.recipes.columns import column_of, text_of
from zoo_trainer.recipes.learner import Learner, Start
from zoo_trainer.recipes.recipe import Recipe
from zoo_trainer.recipes.settings import TrainingSettings
from zoo_trainer.rows import Row, Rows
from zoo_trainer.stopping import Orders

if TYPE_CHECKING:
    import torch
    from torch import nn

    from zoo_trainer.evaluation import Measurement

__all__ = ["RECIPE", "CausalLanguageSettings"]

TEXTS = ("text", "sentence", "content")
IGNORED = -100  # a label that is not learned from


class Method(StrEnum):
    """What is trained."""

    LORA = "lora"
    FULL = "full"


class CausalLanguageSettings(TrainingSettings):
    learning_rate: Annotated[float, Field(gt=0, le=1_000)] = 2e-4
    """Highest step size of AdamW. For `full`, a tenth of it is usual."""
    batch_size: Annotated[int, Field(ge=1, le=65_536)] = 8
    """Examples of one optimizer step."""
    method: Method = Method.LORA
    """Train small matrices beside the linear layers and publish an adapter (lora), or every layer (full)."""
    max_length: Annotated[int, Field(ge=8, le=1_000_000)] = 512
    """Tokens of an example. The base's own limit holds, too."""
    packing: bool = False
    """Lay texts end to end and cut them into examples of max_length, so that nothing is padded."""
    learn_prompts: bool = False
    """Learn what is asked, too, not only what is to be answered; of plain texts all is learned in any case."""
    lora_rank: Annotated[int, Field(ge=1, le=1024)] = 16
    """Width of LoRA's matrices."""
    lora_alpha: Annotated[float, Field(gt=0, le=10_000)] = 32.0
    """Scale of what LoRA adds, over its rank."""
    lora_dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Share of LoRA's inputs that are left out at random."""


class _Piece(NamedTuple):
    """Tokens, and of each whether it is learned."""

    tokens: list[int]
    learned: list[bool]


class _LanguageLearner:
    def __init__(self, start: Start[CausalLanguageSettings]) -> None:
        import torch
        from transformers import MODEL_FOR_CAUSAL_LM_MAPPING

        from modelzoo.loading import load_directory_for, load_processor_directory, read_json
        from modelzoo.tasks.context import context_of
        from modelzoo.tasks.tokenizing import Tokenizing

        settings = self._settings = start.settings
        self._start = start
        self.is_adapter = settings.method is Method.LORA
        try:
            self.model, new = load_directory_for(start.base, MODEL_FOR_CAUSAL_LM_MAPPING, torch.float32)
            tokenizer = load_processor_directory(start.base)
        except FailedPrecondition as error:
            raise FailedPrecondition("BASE_UNSUITABLE", f"It writes no text: {error.message}") from error
        if new:
            raise FailedPrecondition("BASE_UNSUITABLE", "The base has no head that writes text: choose one that has.")
        config: Any = read_json(start.base / "config.json") or {}
        self._dtype: torch.dtype = getattr(torch, str(config.get("dtype") or config.get("torch_dtype") or "float32"))
        cast(Any, self.model).config.use_cache = False
        self._tokenizing = Tokenizing(tokenizer)
        self._length = min(settings.max_length, context_of(self.model.config, self._tokenizing))
        self._conversation = Conversation(tokenizer)
        self._kind = self._kind_of(start.train[0])
        if self.is_adapter:
            self._add_lora(settings)
        elif settings.gradient_checkpointing:
            cast(Any, self.model).enable_input_require_grads()
        self.rows: Sequence[Any] = self._packed(start.train) if settings.packing else start.train
        if not len(self.rows):
            raise _unsuitable("all of its texts together are shorter than two tokens")

    def encode(self, row: Any, generator: "torch.Generator") -> _Piece:
        return row if isinstance(row, _Piece) else self._cut(self._piece(row))

    def collate(self, examples: Sequence[_Piece]) -> "dict[str, torch.Tensor]":
        import torch

        longest = max(len(each.tokens) for each in examples)
        pad = self._tokenizing.pad_token
        tokens = [[*each.tokens, *[pad] * (longest - len(each.tokens))] for each in examples]
        mask = [[1] * len(each.tokens) + [0] * (longest - len(each.tokens)) for each in examples]
        labels = [
            [token if learned else IGNORED for token, learned in zip(each.tokens, each.learned, strict=True)]
            + [IGNORED] * (longest - len(each.tokens))
            for each in examples
        ]
        return {
            "input_ids": torch.tensor(tokens),
            "attention_mask": torch.tensor(mask),
            "labels": torch.tensor(labels),
        }

    def items(self, batch: "Mapping[str, torch.Tensor]") -> int:
        return int((batch["labels"][:, 1:] != IGNORED).sum())

    def loss(self, model: "nn.Module", batch: "Mapping[str, torch.Tensor]") -> "torch.Tensor":
        """Of each token, given those before it."""
        from torch.nn import functional

        logits = model(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"]).logits[:, :-1]
        labels = batch["labels"][:, 1:]
        return functional.cross_entropy(
            logits.flatten(0, 1).float(), labels.flatten(), ignore_index=IGNORED, reduction="sum"
        )

    def measure(self, rows: Rows, batch_size: int, orders: Orders) -> "Measurement":
        from zoo_trainer.evaluation import measure_text
        from zoo_trainer.modes import evaluating

        losses, tokens = 0.0, 0
        device = next(self.model.parameters()).device
        with evaluating(self.model):
            for start in range(0, len(rows), batch_size):
                orders.check()
                pieces = [self._cut(self._piece(row)) for row in rows[start : start + batch_size]]
                batch = {name: tensor.to(device) for name, tensor in self.collate(pieces).items()}
                losses += self.loss(self.model, batch).item()
                tokens += self.items(batch)
        return measure_text(losses, tokens, len(rows))

    def save(self, folder: Path) -> None:
        from zoo_trainer.result import copy_beside, save_transformers

        model = cast(Any, self.model)
        if not self.is_adapter:
            model.config.use_cache = True
            save_transformers(model, folder, self._start.base, self._dtype)
            return
        model.save_pretrained(folder, safe_serialization=True, save_embedding_layers=False)
        copy_beside(self._start.base, folder)

    def _add_lora(self, settings: CausalLanguageSettings) -> None:
        from peft import LoraConfig, get_peft_model

        linear = LoraConfig(
            r=settings.lora_rank,
            lora_alpha=cast(int, settings.lora_alpha),
            lora_dropout=settings.lora_dropout,
            target_modules="all-linear",
            task_type="CAUSAL_LM",
        )
        cast(Any, self.model).name_or_path = self._start.base_reference
        self.model = cast(Any, get_peft_model)(self.model, linear)
        self.model.peft_config["default"].base_model_name_or_path = self._start.base_reference

    def _kind_of(self, row: Row) -> str:
        if "messages" in row:
            if not self._conversation.possible:
                raise FailedPrecondition(
                    "BASE_UNSUITABLE", "The base has no chat template for messages: give it texts, or another base."
                )
            return "messages"
        return "completion" if "prompt" in row and "completion" in row else column_of(row, TEXTS)

    def _piece(self, row: Row) -> _Piece:
        """All of the row, with what ends a text."""
        if self._kind == "messages":
            said = self._conversation.read(row.get("messages"))
        elif self._kind == "completion":
            said = [Said(text_of(row, "prompt"), False), Said(text_of(row, "completion") + self._end, True)]
        else:
            said = [Said(text_of(row, self._kind) + self._end, True)]
        tokens: list[int] = []
        learned: list[bool] = []
        for number, part in enumerate(said):
            special = number == 0 and self._kind != "messages"
            own = self._tokenizing.encode(part.text, add_special_tokens=special)
            tokens += own
            learned += [part.is_answer or self._settings.learn_prompts] * len(own)
        return _Piece(tokens, learned)

    @property
    def _end(self) -> str:
        return self._tokenizing.end_text

    def _cut(self, piece: _Piece) -> _Piece:
        return _Piece(piece.tokens[: self._length], piece.learned[: self._length])

    def _packed(self, rows: Rows) -> "_Packed":
        packed = _Packed(self._length)
        for row in rows:
            packed.add(self._piece(row))
        return packed


class _Packed(Sequence[_Piece]):
    """Texts end to end, five bytes for each token, as pieces of one length; the last may be shorter."""

    def __init__(self, length: int) -> None:
        self._length = length
        self._tokens = array("i")
        self._learned = bytearray()

    def add(self, piece: _Piece) -> None:
        self._tokens.extend(piece.tokens)
        self._learned.extend(piece.learned)

    def __len__(self) -> int:
        # A single token has none before it to follow from.
        whole, rest = divmod(len(self._tokens), self._length)
        return whole + (rest > 1)

    @overload
    def __getitem__(self, index: int) -> _Piece: ...

    @overload
    def __getitem__(self, index: slice) -> list[_Piece]: ...

    def __getitem__(self, index: int | slice) -> _Piece | list[_Piece]:
        if isinstance(index, slice):
            return [self[each] for each in range(*index.indices(len(self)))]
        if not 0 <= index < len(self):
            raise IndexError(index)
        part = slice(index * self._length, (index + 1) * self._length)
        return _Piece(self._tokens[part].tolist(), [bool(each) for each in self._learned[part]])


def _unsuitable(why: str) -> InvalidArgument:
    return InvalidArgument("DATASET_UNSUITABLE", f"No language model can learn from this dataset: {why}.")


def _start(start: Start[CausalLanguageSettings]) -> Learner:
    return _LanguageLearner(start)


RECIPE = Recipe(
    name="causal-lm",
    settings=CausalLanguageSettings,
    start=_start,
    base_tasks=("text-generation",),
    task="text-generation",
    columns=("messages|prompt|" + "|".join(TEXTS),),
    metric="loss",
    lower_is_better=True,
)
