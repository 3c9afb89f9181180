"""Texts continued on this machine, one after another. (Workers have an engine of their own, for many at once.)"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

import torch

from modelzoo.tasks.context import check_context, context_of
from modelzoo.tasks.files import ModelFiles
from modelzoo.tasks.task import Task
from modelzoo.tasks.tokenizing import Tokenizing

__all__ = ["Begun", "TextGenerator"]

MAX_TOKENS_DEFAULT = 512


@dataclass(frozen=True, slots=True)
class Begun:
    """Tokens to continue, and by how many at most."""

    tokens: list[int]
    max_tokens: int


class TextGenerator:
    """Takes the most probable token always, so that the same text gives the same answer."""

    task = Task.GENERATE

    def __init__(self, files: ModelFiles) -> None:
        self._model = files.model
        self._tokenizer = files.processor
        self._tokenizing = Tokenizing(files.processor)
        self.context = context_of(files.model.config, self._tokenizing)
        self.size_bytes = files.size_bytes

    def prepare(self, text: str, max_tokens: int | None = None) -> Begun:
        """One user's turn where the model has a chat template; otherwise continued as it stands.

        Raises CONTEXT_EXCEEDED where the context leaves no room for an answer.
        """
        if self._tokenizing.chat_template is None:
            tokens = self._tokenizing.encode(text, add_special_tokens=True)
        else:
            turn = [{"role": "user", "content": text}]
            written = self._tokenizer.apply_chat_template(turn, add_generation_prompt=True, tokenize=False)
            tokens = self._tokenizing.encode(written, add_special_tokens=False)
        check_context(len(tokens), self.context - (max_tokens or 1), "the input")
        return Begun(tokens, max_tokens or min(MAX_TOKENS_DEFAULT, self.context - len(tokens)))

    def cost(self, item: Begun) -> int:
        """What the item adds to a batch: tokens."""
        return len(item.tokens) + item.max_tokens

    def compute(self, batch: Sequence[Begun]) -> list[str]:
        """The new text of each."""
        return [self._continue(begun) for begun in batch]

    def _continue(self, begun: Begun) -> str:
        tokens = torch.tensor([begun.tokens])
        with torch.inference_mode():
            made: Any = self._model.generate(
                tokens,
                attention_mask=torch.ones_like(tokens),
                max_new_tokens=begun.max_tokens,
                do_sample=False,
                temperature=None,
                top_p=None,
                top_k=None,
                pad_token_id=self._tokenizing.pad_token,
            )
        return self._tokenizing.decode(cast(list[int], made[0, len(begun.tokens) :].tolist()))
