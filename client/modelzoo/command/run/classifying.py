"""Classifiers of texts and of pictures: the most probable labels of each."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from modelzoo.command.run.each import answer_each, run_each
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
    pairs = list(zip(texts, client.classify_text(ref, texts, top_k=options.top_k), strict=True))
    results = [{"input": text, **_fields(each)} for text, each in pairs]
    answer({"reference": ref, "results": results}, lambda: show_labels([(text, each.labels) for text, each in pairs]))


def classify_images(client: "Client", ref: str, inputs: Sequence[str], options: RunOptions) -> None:
    """Labels of each picture."""
    files = read_files(ref, PICTURE, inputs)
    found = run_each(client, client.classify_image, ref, files, top_k=options.top_k)
    answer_each(ref, files, found, _fields, lambda good: show_labels([(file.name, each.labels) for file, each in good]))


def _fields(found: "Classification") -> dict[str, Any]:
    return {"labels": found.labels, "computed": found.computed}
