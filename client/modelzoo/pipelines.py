"""`modelzoo.pipeline`: a model's task on this machine, by the code that the workers run; needs the extra `torch`."""

import inspect
import itertools
import os
import threading
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, cast

from modelzoo.errors import InvalidArgument
from modelzoo.inputs import AudioInput, ImageInput, audio_bytes, image_bytes
from modelzoo.naming import naming_the_input
from modelzoo.ready import held
from modelzoo.reference import parse
from modelzoo.tasks.task import Task

if TYPE_CHECKING:
    import numpy
    import torch
    from numpy.typing import NDArray
    from PIL.Image import Image

    from modelzoo.client import Client
    from modelzoo.tasks.embedding import TextEncoder
    from modelzoo.tasks.image_classification import ImageClassifier
    from modelzoo.tasks.object_detection import ObjectDetector
    from modelzoo.tasks.opening import TaskModel
    from modelzoo.tasks.results import Detected, Entity, LabelScore, Transcript
    from modelzoo.tasks.text_classification import TextClassifier
    from modelzoo.tasks.text_generation import TextGenerator
    from modelzoo.tasks.token_classification import TokenClassifier, WordsOfText
    from modelzoo.tasks.transcription import Heard, Transcriber

__all__ = ["Pipeline", "pipeline"]

T = TypeVar("T")
Prepared = TypeVar("Prepared")
R = TypeVar("R")

BATCH = 8  # inputs that are prepared and computed together
FILE_BYTES_MAX = 1 << 30  # nothing is sent, so only memory matters; the decoders have limits of their own
TOP_K_DEFAULT = 5
THRESHOLD_DEFAULT = 0.5
DETECTIONS_DEFAULT = 100


class Pipeline:
    """Calls the model on one input, or on a list of them in batches: a result, or as many in their order.

    What an input is, which options a call takes, and what comes out depends on `task`:

    - `image-classification`: a picture; `top_k` (5); a tuple of LabelScore.
    - `object-detection`: a picture; `threshold` (0.5), `max_detections` (100); a Detected.
    - `automatic-speech-recognition`: a sound; `rate_hz` (of an array), `language`; a Transcript.
    - `text-classification`: a text; `top_k` (5); a tuple of LabelScore.
    - `token-classification`: a text; a tuple of Entity, which workers do not serve.
    - `sentence-similarity`: a text; a float32 array [dimensions], of a list [texts, dimensions].
    - `text-generation`: a text, one user's turn where the model has a chat template; `max_tokens`; the new text, of the
      most probable token each time.

    Pictures and sounds are what `modelzoo.inference.Inference` takes; their boxes and times mean the same. Raises what
    a worker would answer: IMAGE_INVALID, AUDIO_INVALID, CONTEXT_EXCEEDED and the like, with a note that names the
    input; TypeError for an option that the task lacks. Several threads may call it; one of them computes at a time.
    """

    def __init__(self, model: "TaskModel", reference: str) -> None:
        self.task = model.task.value
        self.reference = reference
        self._model = model
        self._run = _RUN[model.task]
        self._computing = threading.Lock()

    def __call__(self, inputs: Any, **options: Any) -> Any:
        self._check_options(options)
        many = isinstance(inputs, list | tuple)
        given = list(cast("Sequence[Any]", inputs)) if many else [inputs]
        with self._computing:
            results = self._run(self._model, given, **options)
        return results if many else results[0]

    def _check_options(self, options: Collection[str]) -> None:
        parameters = inspect.signature(self._run).parameters.values()
        known = [each.name for each in parameters if each.kind is each.KEYWORD_ONLY]
        for name in options:
            if name not in known:
                raise TypeError(f"{name} is no option of {self.task}, which takes {', '.join(known) or 'none'}.")

    def __repr__(self) -> str:
        return f"Pipeline({self.reference!r}, task={self.task!r})"


def pipeline(
    ref: str | os.PathLike[str], *, dtype: "torch.dtype | None" = None, client: "Client | None" = None
) -> Pipeline:
    """The model of a reference, or of a local directory (a Path, or a str that is no reference: `./mine`), ready.

    Files that the local cache lacks are pulled first. A LoRA adapter is added to its base, and does what that does
    (`modelzoo[merge]`). Raises what `Client.pull` raises, MODEL_UNSUPPORTED for a model without a task here,
    MODEL_LOAD_FAILED, LOCAL_PATH_INVALID; ADAPTER_BASE_MISSING, ADAPTER_UNSUITABLE. Without `client`, one is opened as
    `Client()` does; without `dtype`, the model computes in the one that its weights are stored in.
    """
    from modelzoo.tasks.opening import open_task

    directory = _directory(ref)
    if directory is not None:
        return Pipeline(open_task(directory, dtype), str(directory))
    with held(str(ref), client) as files:
        made = Pipeline(open_task(files.path, dtype, adapter=files.adapter), files.result.reference)
        files.keep_for(made)
    return made


def _directory(ref: str | os.PathLike[str]) -> Path | None:
    if isinstance(ref, str):
        try:
            parse(ref)
        except InvalidArgument:
            if not os.path.isdir(ref):
                raise
        else:
            return None
    if not os.path.isdir(ref):
        raise InvalidArgument("LOCAL_PATH_INVALID", f"There is no directory '{os.fspath(ref)}'.")
    return Path(ref)


def _embed(model: "TextEncoder", texts: Sequence[str]) -> "NDArray[numpy.float32]":
    import numpy

    rows = _in_batches(texts, lambda text: _tokens(model, text), model.compute)
    return numpy.array(rows, dtype=numpy.float32)


def _classify_texts(
    model: "TextClassifier", texts: Sequence[str], *, top_k: int = TOP_K_DEFAULT
) -> "list[tuple[LabelScore, ...]]":
    _check_top_k(top_k)
    rows = _in_batches(texts, lambda text: _tokens(model, text), model.compute)
    return [model.labels.rank(row, top_k) for row in rows]


def _classify_tokens(model: "TokenClassifier", texts: Sequence[str]) -> "list[tuple[Entity, ...]]":
    return _in_batches(texts, lambda text: _words(model, text), model.compute)


def _classify_images(
    model: "ImageClassifier", images: Sequence[ImageInput], *, top_k: int = TOP_K_DEFAULT
) -> "list[tuple[LabelScore, ...]]":
    _check_top_k(top_k)
    rows = _in_batches(images, lambda image: model.prepare(_picture(image)), model.compute)
    return [model.labels.rank(row, top_k) for row in rows]


def _detect_objects(
    model: "ObjectDetector",
    images: Sequence[ImageInput],
    *,
    threshold: float = THRESHOLD_DEFAULT,
    max_detections: int = DETECTIONS_DEFAULT,
) -> "list[Detected]":
    found = _in_batches(images, lambda image: model.prepare(_picture(image)), model.compute)
    return [each.best(threshold, max_detections) for each in found]


def _transcribe(
    model: "Transcriber", sounds: Sequence[AudioInput], *, rate_hz: int | None = None, language: str = ""
) -> "list[Transcript]":
    from modelzoo.tasks.transcription import joined

    def compute(heard: "Sequence[Sequence[Heard]]") -> "list[Transcript]":
        # Windows of all sounds together: a short sound is a single one.
        windows = [window for sound in heard for window in sound]
        said = itertools.chain.from_iterable(model.compute(batch) for batch in _batches(windows))
        return [joined(list(itertools.islice(said, len(sound)))) for sound in heard]

    return _in_batches(sounds, lambda sound: model.prepare(_samples(sound, rate_hz), language), compute)


def _generate(model: "TextGenerator", texts: Sequence[str], *, max_tokens: int | None = None) -> list[str]:
    return model.compute(_prepared(enumerate(texts), lambda text: model.prepare(_text(text), max_tokens)))


_RUN: dict[Task, Callable[..., Any]] = {
    Task.EMBED: _embed,
    Task.CLASSIFY_TEXT: _classify_texts,
    Task.CLASSIFY_TOKENS: _classify_tokens,
    Task.CLASSIFY_IMAGE: _classify_images,
    Task.DETECT_OBJECTS: _detect_objects,
    Task.TRANSCRIBE: _transcribe,
    Task.GENERATE: _generate,
}


def _in_batches(
    inputs: Sequence[T], prepare: Callable[[T], Prepared], compute: Callable[[list[Prepared]], Sequence[R]]
) -> list[R]:
    """What `compute` makes of all inputs, BATCH of them at a time."""
    numbered = list(enumerate(inputs))
    return [result for batch in _batches(numbered) for result in compute(_prepared(batch, prepare))]


def _batches(items: Sequence[T]) -> Iterator[Sequence[T]]:
    return (items[start : start + BATCH] for start in range(0, len(items), BATCH))


def _prepared(numbered: Iterable[tuple[int, T]], prepare: Callable[[T], Prepared]) -> list[Prepared]:
    prepared: list[Prepared] = []
    for position, given in numbered:
        with naming_the_input(position, given):
            prepared.append(prepare(given))
    return prepared


def _picture(image: ImageInput) -> "Image":
    from modelzoo.media.image import decode_image

    return decode_image(image_bytes(image, FILE_BYTES_MAX))


def _samples(audio: AudioInput, rate_hz: int | None) -> "NDArray[numpy.float32]":
    from modelzoo.media.audio import decode_audio
    from modelzoo.tasks.transcription import RATE_HZ

    return decode_audio(audio_bytes(audio, rate_hz, FILE_BYTES_MAX), RATE_HZ)


def _tokens(model: "TextEncoder | TextClassifier", text: str) -> list[int]:
    from modelzoo.tasks.context import check_context

    tokens = model.prepare(_text(text))
    check_context(len(tokens), model.context, "the text")
    return tokens


def _words(model: "TokenClassifier", text: str) -> "WordsOfText":
    from modelzoo.tasks.context import check_context

    words = model.prepare(_text(text))
    check_context(len(words.tokens), model.context, "the text")
    return words


def _text(given: object) -> str:
    if not isinstance(given, str):
        raise InvalidArgument("FIELD_INVALID", f"This model takes texts, not a {type(given).__name__}.")
    if not given.strip():
        raise InvalidArgument("INPUT_EMPTY", "The text is empty.")
    return given


def _check_top_k(top_k: int) -> None:
    if top_k < 1:
        raise InvalidArgument("FIELD_INVALID", f"top_k is {top_k}; it is at least 1.", field="top_k")
