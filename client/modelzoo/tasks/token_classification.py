"""Words of texts to what they are: names of people, of places, and the like."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from modelzoo.errors import FailedPrecondition
from modelzoo.tasks.context import context_of
from modelzoo.tasks.files import ModelFiles
from modelzoo.tasks.labels import Labels
from modelzoo.tasks.padding import padded
from modelzoo.tasks.results import Entity
from modelzoo.tasks.task import Task
from modelzoo.tasks.tokenizing import Tokenizing
from modelzoo.tasks.words import OUTSIDE, Place, first_tokens, read_tags, split_words

__all__ = ["TokenClassifier", "WordsOfText"]


@dataclass(frozen=True, slots=True)
class WordsOfText:
    """A text, its tokens, and its words with the number of the first token of each."""

    text: str
    tokens: Sequence[int]
    words: Sequence[Place]
    firsts: Sequence[int | None]


class TokenClassifier:
    """Texts of at most `context` tokens. `prepare` may be called from several threads at once; `compute` belongs to
    one at a time.
    """

    task = Task.CLASSIFY_TOKENS

    def __init__(self, files: ModelFiles) -> None:
        """Raises MODEL_UNSUPPORTED, MODEL_LOAD_FAILED."""
        self._model = files.model
        self._tokenizing = Tokenizing(files.processor)
        self.labels = Labels(files.model.config)
        self.context = min(context_of(files.model.config, self._tokenizing), self._tokenizing.longest)
        self.size_bytes = files.size_bytes
        self._check()

    def prepare(self, text: str) -> WordsOfText:
        """All of the text, however long."""
        tokens, places = self._tokenizing.locate(text)
        words = split_words(text)
        return WordsOfText(text, tokens, words, first_tokens(words, places))

    def cost(self, item: WordsOfText) -> int:
        """What the item adds to a batch: tokens."""
        return len(item.tokens)

    def compute(self, batch: Sequence[WordsOfText]) -> list[tuple[Entity, ...]]:
        """Of each text what it names, in its order: the most probable tag of each word's first token decides."""
        tokens, mask = padded([item.tokens for item in batch], self._tokenizing.pad_token)
        with torch.inference_mode():
            logits = self._model(input_ids=tokens, attention_mask=mask).logits
        return [
            self._entities(item, self.labels.probabilities(of_item))
            for item, of_item in zip(batch, logits, strict=True)
        ]

    def _entities(self, item: WordsOfText, probabilities: list[list[float]]) -> tuple[Entity, ...]:
        tags, scores = [OUTSIDE] * len(item.words), [0.0] * len(item.words)
        for word, token in enumerate(item.firsts):
            if token is not None:
                (best,) = self.labels.rank(probabilities[token], 1)
                tags[word], scores[word] = best.label, best.score
        found: list[Entity] = []
        for label, first, end in read_tags(tags):
            start, last = item.words[first].start, item.words[end - 1].end
            score = sum(scores[first:end]) / (end - first)
            found.append(Entity(label, item.text[start:last], start, last, score))
        return tuple(found)

    def _check(self) -> None:
        longest = WordsOfText("", [self._tokenizing.pad_token] * self.context, (), ())
        try:
            self.compute([longest, self.prepare("a")])
        except FailedPrecondition:
            raise
        # Foreign files make the libraries raise every kind.
        except Exception as error:
            raise FailedPrecondition(
                "MODEL_LOAD_FAILED",
                f"The model fails over an input of the {self.context} tokens that its files allow: {str(error)[:500]}",
            ) from error
