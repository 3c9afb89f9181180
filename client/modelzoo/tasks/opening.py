"""A directory in transformers' form into what its task needs."""

from pathlib import Path

import torch

from modelzoo.errors import FailedPrecondition
from modelzoo.tasks.embedding import TextEncoder
from modelzoo.tasks.files import ModelFiles, architecture_of, read_files
from modelzoo.tasks.image_classification import ImageClassifier
from modelzoo.tasks.object_detection import ObjectDetector
from modelzoo.tasks.task import Task, task_of
from modelzoo.tasks.text_classification import TextClassifier
from modelzoo.tasks.text_generation import TextGenerator
from modelzoo.tasks.token_classification import TokenClassifier
from modelzoo.tasks.transcription import Transcriber

__all__ = ["AtOnce", "TaskModel", "make_task_model", "open_task"]

# What answers an input at once; each is computed in batches.
AtOnce = TextEncoder | TextClassifier | TokenClassifier | ImageClassifier | ObjectDetector | Transcriber
TaskModel = AtOnce | TextGenerator

_CLASSES: dict[Task, type[AtOnce]] = {
    Task.EMBED: TextEncoder,
    Task.CLASSIFY_TEXT: TextClassifier,
    Task.CLASSIFY_TOKENS: TokenClassifier,
    Task.CLASSIFY_IMAGE: ImageClassifier,
    Task.DETECT_OBJECTS: ObjectDetector,
    Task.TRANSCRIBE: Transcriber,
}


def open_task(path: Path, dtype: torch.dtype | None = None, *, adapter: Path | None = None) -> TaskModel:
    """What the model in this directory does, ready to do it, with the adapter in that one added, if one is given. Its
    files must not change while it is used.

    Raises ADAPTER_UNSUITABLE, MODEL_UNSUPPORTED for an architecture without a task here, MODEL_LOAD_FAILED.
    """
    architecture = architecture_of(path)
    task = task_of(architecture)
    if task is None:
        raise FailedPrecondition(
            "MODEL_UNSUPPORTED",
            f"There is no pipeline for a {architecture[:80]!a}: use modelzoo.load, which gives the bare module.",
        )
    files = read_files(path, dtype, adapter=adapter)
    return TextGenerator(files) if task is Task.GENERATE else make_task_model(task, files)


def make_task_model(task: Task, files: ModelFiles) -> AtOnce:
    """The model of a task that answers at once. Raises MODEL_UNSUPPORTED, MODEL_LOAD_FAILED."""
    return _CLASSES[task](files)
