"""A model's tokenizer, for use from several threads. The one place that knows transformers' tokenizer classes."""

import threading
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from typing import Any, cast

from modelzoo.errors import FailedPrecondition, InvalidArgument

__all__ = ["Tokenizing"]


class Tokenizing:
    """Text to tokens and back. Safe for several threads."""

    def __init__(self, tokenizer: Any) -> None:
        self._tokenizer = tokenizer
        # The tokenizer's settings change with each way of encoding, which two threads must not do at once.
        self._encoding = threading.Lock()

    @property
    def chat_template(self) -> str | None:
        """The template that turns a chat into text, if the model has one."""
        template: Any = self._tokenizer.chat_template
        # Some models have several, by name.
        return cast(dict[str, str], template).get("default") if isinstance(template, dict) else template

    @property
    def special_tokens(self) -> dict[str, str]:
        """Names such as `bos_token` and their texts, as chat templates use them."""
        return {name: str(text) for name, text in self._tokenizer.special_tokens_map.items() if isinstance(text, str)}

    @property
    def longest(self) -> int:
        """Most tokens that the tokenizer's files allow; a very large number where they say nothing."""
        return int(self._tokenizer.model_max_length)

    @property
    def end_token(self) -> int | None:
        return self._tokenizer.eos_token_id

    @property
    def end_text(self) -> str:
        """What the end token is written as; empty where there is none."""
        return str(self._tokenizer.eos_token or "")

    @property
    def pad_token(self) -> int:
        """The token that fills up a batch; masked, so any will do where there is none."""
        return self._tokenizer.pad_token_id or 0

    def encode(self, text: str, *, add_special_tokens: bool) -> list[int]:
        """Tokens of the whole text, never shortened. Raises TEXT_INVALID where the tokenizer gives up on it."""
        how = {"add_special_tokens": add_special_tokens, "truncation": False, "verbose": False}
        with self._encoding, _told_apart():
            return self._tokenizer.encode(text, **how)

    def locate(self, text: str) -> tuple[list[int], list[tuple[int, int]]]:
        """Tokens of the whole text, special ones included, and where in the text each begins and ends, in characters;
        special ones are nowhere: (0, 0). Raises TEXT_INVALID, and MODEL_UNSUPPORTED where the tokenizer cannot say."""
        if not self._tokenizer.is_fast:
            raise FailedPrecondition(
                "MODEL_UNSUPPORTED", "This model's tokenizer does not say where its tokens stand in a text."
            )
        with self._encoding, _told_apart():
            found = self._tokenizer(text, return_offsets_mapping=True, truncation=False, verbose=False)
        return found["input_ids"], [(int(start), int(end)) for start, end in found["offset_mapping"]]

    def decode(self, tokens: Sequence[int], /) -> str:
        """Text of tokens, special ones left out."""
        return self._tokenizer.decode(tokens, skip_special_tokens=True, clean_up_tokenization_spaces=False)


@contextmanager
def _told_apart() -> Generator[None]:
    """Make what a tokenizer's Rust code raises into TEXT_INVALID."""
    try:
        yield
    except BaseException as error:
        # Over a pattern that takes too many steps, for one. It is no Exception.
        if type(error).__name__ != "PanicException":
            raise
        raise InvalidArgument("TEXT_INVALID", f"the model's tokenizer gives up on this text: {error}") from error
