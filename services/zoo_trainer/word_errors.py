"""How far transcripts are from what was said: words and characters that were changed, left out or put in."""

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

import jiwer

from zoo_trainer.evaluation import Measurement, Misheard

__all__ = ["Spoken", "measure_transcripts", "normalise"]

WORST_MOST = 20
SHOWN_CHARACTERS = 200
# In the middle of a word: don't, l'eau.
APOSTROPHES = str.maketrans({"\u2019": "'", "\u02bc": "'"})


@dataclass(frozen=True, slots=True)
class Spoken:
    """A row: its number among those that were measured, from 1; what was said, and what the model wrote."""

    row: int
    truth: str
    written: str


def normalise(text: str) -> str:
    """The words of a text as they are compared: in lower case, without punctuation and symbols, one space between them.

    Accents stay, and so do apostrophes within words.
    """
    folded = unicodedata.normalize("NFC", unicodedata.normalize("NFKC", text).casefold()).translate(APOSTROPHES)
    kept = "".join(each if each == "'" or unicodedata.category(each)[0] not in "PSC" else " " for each in folded)
    return " ".join(word for word in (word.strip("'") for word in kept.split()) if word)


def measure_transcripts(spoken: Sequence[Spoken], loss: float, *, normalised: bool = True) -> Measurement:
    """Word and character error rates over all rows together: errors over what was said, so that they may be above 1.

    `loss` is the mean of a token's, in nats, and told as it is. With `normalised`, both texts are, by the same
    function.
    """
    compare = cast(Any, jiwer)
    words, characters, misheard = _Errors(), _Errors(), list[Misheard]()
    for each in spoken:
        truth, written = (normalise(text) if normalised else text for text in (each.truth, each.written))
        errors = words.add(compare.process_words(truth, written))
        characters.add(compare.process_characters(truth, written))
        if errors:
            said, heard = each.truth[:SHOWN_CHARACTERS], each.written[:SHOWN_CHARACTERS]
            misheard.append(Misheard(each.row, said, heard, errors, len(truth.split())))
    misheard.sort(key=lambda each: (-each.errors / max(1, each.words), each.row))
    metrics = {"wer": words.rate, "cer": characters.rate, "loss": loss}
    return Measurement(metrics, len(spoken), misheard=tuple(misheard[:WORST_MOST]))


@dataclass(slots=True)
class _Errors:
    errors: int = 0
    said: int = 0

    def add(self, found: Any) -> int:
        """Count those of a row, and return them."""
        errors: int = found.substitutions + found.deletions + found.insertions
        self.errors += errors
        self.said += found.hits + found.substitutions + found.deletions
        return errors

    @property
    def rate(self) -> float:
        return self.errors / max(1, self.said)
