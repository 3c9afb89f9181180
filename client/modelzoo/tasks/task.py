"""What a model can do here, by its architecture."""

from collections.abc import Iterable
from enum import Enum
from functools import cache

__all__ = ["Task", "task_of"]


class Task(Enum):
    """The values are the Hub's pipeline tags, as the catalog has them."""

    GENERATE = "text-generation"
    EMBED = "sentence-similarity"
    CLASSIFY_TEXT = "text-classification"
    CLASSIFY_TOKENS = "token-classification"
    CLASSIFY_IMAGE = "image-classification"
    DETECT_OBJECTS = "object-detection"
    TRANSCRIBE = "automatic-speech-recognition"


def task_of(architecture: str) -> Task | None:
    """The task of models of this class; None for a class that nothing here runs."""
    return _tasks().get(architecture)


@cache
def _tasks() -> dict[str, Task]:
    """Tasks by the names of transformers' model classes, and of ours."""
    from transformers.models.auto import modeling_auto as names

    from modelzoo import architectures

    encoders = set(names.MODEL_FOR_MASKED_LM_MAPPING_NAMES)
    bare = {cls for kind, cls in names.MODEL_MAPPING_NAMES.items() if kind in encoders}
    classes: dict[Task, set[str]] = {
        # The last of them that has a class decides: BERT's masked language model also stands among the causal ones.
        Task.GENERATE: _classes(names.MODEL_FOR_CAUSAL_LM_MAPPING_NAMES.values()),
        Task.EMBED: _classes([*names.MODEL_FOR_MASKED_LM_MAPPING_NAMES.values(), *bare]),
        Task.CLASSIFY_TEXT: _classes(names.MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING_NAMES.values()),
        Task.CLASSIFY_TOKENS: _classes(names.MODEL_FOR_TOKEN_CLASSIFICATION_MAPPING_NAMES.values()),
        Task.CLASSIFY_IMAGE: _classes(names.MODEL_FOR_IMAGE_CLASSIFICATION_MAPPING_NAMES.values())
        | {name for name in architectures.classes() if name.endswith("ForImageClassification")},
        Task.DETECT_OBJECTS: _classes(names.MODEL_FOR_OBJECT_DETECTION_MAPPING_NAMES.values()),
        Task.TRANSCRIBE: {"WhisperForConditionalGeneration", *_classes(names.MODEL_FOR_CTC_MAPPING_NAMES.values())},
    }
    return {name: task for task, members in classes.items() for name in members}


def _classes(found: Iterable[str | tuple[str, ...]]) -> set[str]:
    return {name for entry in found for name in ((entry,) if isinstance(entry, str) else entry)}
