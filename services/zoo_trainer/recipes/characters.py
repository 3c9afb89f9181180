"""Texts as the characters that a CTC model says: by the base's tokenizer, or by a new one for the texts at hand."""

import json
import tempfile
import unicodedata
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any, cast

from zoo_trainer.word_errors import normalise

__all__ = ["Characters", "new_tokenizer"]

BLANK, UNKNOWN, SPACE = "<pad>", "<unk>", "|"


class Characters:
    """Encodes texts for one tokenizer; `lacking` counts letters and digits that it has no token for."""

    def __init__(self, tokenizer: Any, *, normalised: bool) -> None:
        self._normalised = normalised
        special = {str(token) for token in tokenizer.all_special_tokens}
        self._space: str = tokenizer.word_delimiter_token
        known: dict[str, int] = tokenizer.get_vocab()
        self._tokens = {token: number for token, number in known.items() if len(token) == 1 and token not in special}
        self._tokens |= {self._space: known[self._space]} if self._space in known else {}
        self.lacking: Counter[str] = Counter()

    def encode(self, text: str) -> list[int]:
        """The tokens of the text, in the case that the vocabulary has; what it does not know is passed over."""
        words = (normalise(text) if self._normalised else unicodedata.normalize("NFC", text)).split()
        tokens: list[int] = []
        for word in words:
            spelt = [token for character in word for token in self._spell(character)]
            if spelt and tokens and self._space in self._tokens:
                tokens.append(self._tokens[self._space])
            tokens += spelt
        return tokens

    def _spell(self, character: str) -> list[int]:
        for form in (character, character.upper(), character.lower()):
            if all(each in self._tokens for each in form):
                return [self._tokens[each] for each in form]
        if character.isalnum():
            self.lacking[character] += 1
        return []


def new_tokenizer(texts: Iterable[str]) -> Any:
    """A tokenizer of the characters of the texts, in lower case and without punctuation; token 0 says nothing."""
    from transformers import Wav2Vec2CTCTokenizer

    found = sorted({character for text in texts for character in normalise(text)} - {" ", SPACE})
    vocabulary = {token: number for number, token in enumerate([BLANK, UNKNOWN, SPACE, *found])}
    with tempfile.TemporaryDirectory(prefix="zoo-vocabulary-") as folder:
        path = Path(folder, "vocab.json")
        path.write_text(json.dumps(vocabulary))
        return cast(Any, Wav2Vec2CTCTokenizer)(
            str(path), bos_token=None, eos_token=None, unk_token=UNKNOWN, pad_token=BLANK, word_delimiter_token=SPACE
        )
