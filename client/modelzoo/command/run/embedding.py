"""Sentence models: how alike texts are."""

import itertools
from collections.abc import Sequence
from typing import TYPE_CHECKING

from modelzoo.command.run.inputs import read_texts
from modelzoo.command.run.options import RunOptions
from modelzoo.command.terminal import answer, line, print_table, shortened

if TYPE_CHECKING:
    from modelzoo.client import Client

__all__ = ["embed"]


def embed(client: "Client", ref: str, inputs: Sequence[str], options: RunOptions) -> None:
    """Compare the texts with each other; the vector itself where there is one."""
    texts = read_texts(ref, inputs)
    vectors = [[float(value) for value in row] for row in client.embed(ref, texts)]
    value = {"reference": ref, "inputs": texts, "embeddings": vectors}
    answer(value, lambda: _print_similarities(texts, vectors))


def _print_similarities(texts: Sequence[str], vectors: Sequence[Sequence[float]]) -> None:
    if len(vectors) == 1:
        line(" ".join(f"{value:.6g}" for value in vectors[0]))
        return
    numbers = [str(number) for number in range(1, len(texts) + 1)]
    print_table(
        ("", "INPUT", *numbers),
        [
            (number, shortened(text), *(f"{_cosine(vector, other):.3f}" for other in vectors))
            for number, text, vector in zip(numbers, texts, vectors, strict=True)
        ],
    )
    pairs = itertools.combinations(range(len(vectors)), 2)
    score, first, second = max((_cosine(vectors[a], vectors[b]), a, b) for a, b in pairs)
    line(f"\nMost alike: {numbers[first]} and {numbers[second]} ({score:.3f})")


def _cosine(left: Sequence[float], right: Sequence[float]) -> float:
    dot = sum(a * b for a, b in zip(left, right, strict=True))
    norm = (sum(a * a for a in left) * sum(b * b for b in right)) ** 0.5
    return dot / norm if norm else 0.0
