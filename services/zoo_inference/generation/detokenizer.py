"""Tokens to text as they come, never half a character."""

from collections.abc import Sequence
from typing import Protocol

__all__ = ["Detokenizer", "TokenDecoder"]

REPLACEMENT = "\ufffd"
# Tokens before the new ones that decide how these are written (a leading space, an open character).
LOOK_BACK = 5
# UTF-8 spends at most 4 bytes on a character and a token has at least one: what is open after more is not a character.
OPEN_MAX = 16
OPEN_KEPT = 3


class TokenDecoder(Protocol):
    """What decodes tokens to text."""

    def decode(self, tokens: Sequence[int], /) -> str: ...


class Detokenizer:
    """The text of a growing list of tokens, piece by piece; the pieces together are the text.

    A character whose bytes lie in several tokens comes when its last byte does. Bytes that are no UTF-8 come as U+FFFD.
    """

    def __init__(self, decoder: TokenDecoder, prompt: Sequence[int]) -> None:
        self._decoder = decoder
        # Tokens in the window, of which those before `_read` have been said.
        self._window = list(prompt[-LOOK_BACK:])
        self._read = len(self._window)
        self._said = decoder.decode(self._window)

    def push(self, token: int) -> str:
        """What `token` adds; empty while a character is open."""
        self._window.append(token)
        text = self._decoder.decode(self._window)
        if text.endswith(REPLACEMENT) and len(text) > len(self._said):
            if len(self._window) - self._read < OPEN_MAX:
                return ""
            return self._advance(len(self._window) - OPEN_KEPT)
        return self._advance(len(self._window))

    def flush(self) -> str:
        """What is still open, at the end."""
        return self._advance(len(self._window))

    def _advance(self, read: int) -> str:
        piece = self._decoder.decode(self._window[:read])[len(self._said) :]
        drop = max(0, read - LOOK_BACK)
        self._window = self._window[drop:]
        self._read = read - drop
        self._said = self._decoder.decode(self._window[: self._read])
        return piece
