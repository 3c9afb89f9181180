"""Classifiers of texts and of pictures: the most probable labels of each."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from modelzoo.command.run.inputs import PICTURE, read_files, read_texts
from modelzoo.command.run.label_bars import show_labels
from modelzoo.command.run.options import RunOptions
from modelzoo.command.terminal import answer

if TYPE_CHECKING:
    from modelzoo.client import Client
    from modelzoo.records import Classification

__all__ = ["classify_images", "classify_texts"]


def classify_texts(client: "Client", ref: str, inputs: Sequence[str], options: RunOptions) -> None:
    """Labels of each text."""
    texts = read_texts(ref, inputs)
    _answer(ref, texts, client.classify_text(ref, texts, top_k=options.top_k))


def classify_images(client: "Client", ref: str, inputs: Sequence[str], options: RunOptions) -> None:
    """Labels of each picture."""
    files = read_files(ref, PICTURE, inputs)
    found = client.map(client.classify_image, ref, [file.source for file in files], top_k=options.top_k)
    _answer(ref, [file.name for file in files], found)


def _answer(ref: str, names: "Sequence[str]", found: "Sequence[Classification]") -> None:
    pairs = list(zip(names, found, strict=True))
    results = [{"input": name, "labels": each.labels, "computed": each.computed} for name, each in pairs]
    answer({"reference": ref, "results": results}, lambda: show_labels([(name, each.labels) for name, each in pairs]))
