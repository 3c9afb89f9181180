"""How well entities are found, in numbers. The same code before and after."""

from collections import Counter
from collections.abc import Sequence
from typing import Any, cast

from modelzoo.tasks.words import read_tags
from zoo_trainer.evaluation import ClassFigures, Measurement

__all__ = ["measure_entities"]


def measure_entities(truth: Sequence[Sequence[str]], said: Sequence[Sequence[str]]) -> Measurement:
    """Of the tags of each sentence's words. An entity is right where first word, last word and label are ("strict" in
    SemEval-2013 task 9, exact match in CoNLL-2003); `accuracy` is that of single words."""
    entities = [_entities(sentence) for sentence in truth], [_entities(sentence) for sentence in said]
    labels = sorted({entity["label"] for side in entities for sentence in side for entity in sentence})
    results = _evaluate(*entities, labels)
    strict = results["overall"]["strict"]
    by_label = {label: results["entities"][label]["strict"] for label in labels}
    tags = Counter(tag for sentence in truth for tag in sentence)
    words = max(1, tags.total())
    right = sum(
        true == called
        for of_truth, of_said in zip(truth, said, strict=True)
        for true, called in zip(of_truth, of_said, strict=True)
    )
    metrics = {"precision": strict.precision, "recall": strict.recall, "f1": strict.f1, "accuracy": right / words}
    return Measurement(
        {name: float(value) for name, value in metrics.items()},
        len(truth),
        {"f1": 0.0, "accuracy": max(tags.values(), default=0) / words},
        tuple(
            ClassFigures(label, float(each.precision), float(each.recall), float(each.f1), int(each.possible))
            for label, each in by_label.items()
        ),
    )


def _entities(tags: Sequence[str]) -> list[dict[str, Any]]:
    """As nervaluate wants them: the end is the last word."""
    return [{"label": each.label, "start": each.first, "end": each.end - 1} for each in read_tags(tags)]


def _evaluate(truth: Any, said: Any, labels: Sequence[str]) -> Any:
    import nervaluate  # no types of its own

    return cast(Any, nervaluate).Evaluator(truth, said, tags=list(labels), loader="dict").evaluate()
