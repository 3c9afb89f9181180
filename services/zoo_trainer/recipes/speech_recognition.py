"""# Speech to text

Teaches a model to write down speech as the dataset does: one of Whisper's family, or a CTC model (wav2vec 2.0, HuBERT,
WavLM, ... with or without a head).

**Whisper** (Radford et al. 2022) is trained by teacher forcing: given the sound and its start tokens (for a model of
several languages with `language` and `task`, and without timestamps), it learns each token of the text, and the end.
What it is given it does not learn. All layers are trained unless `freeze` says otherwise.

**CTC** (Graves et al. 2006) learns for each 20 ms or so a character, or none. The characters are those of the base's
tokenizer; where it has none, or with `new_vocabulary`, they are those of the training texts, in lower case and without
punctuation, and a new head for them is drawn. The convolutions that hear samples rest by default, as in wav2vec 2.0
(Baevski et al. 2020).

The dataset has a column of sounds (`audio`, `path` or `file`: WAV, FLAC, Ogg or MP3 of any sampling rate) and one of
what is said in them (`text`, `sentence`, `transcription` or `transcript`). Rows that are longer than `max_seconds`, or
whose text is longer than the model can write for them, are left out, and counted in the card. Measured is what the
model writes when it is served: the word error rate (`wer`) and the character error rate (`cer`), over all rows
together, of texts without case and punctuation.
"""

from enum import StrEnum
from typing import Annotated

from pydantic import Field

from zoo_trainer.recipes.learner import Learner, Start
from zoo_trainer.recipes.recipe import Recipe
from zoo_trainer.recipes.settings import TrainingSettings
from zoo_trainer.recipes.sounds import SOUNDS

__all__ = ["RECIPE", "Freeze", "SpeechRecognitionSettings", "SpeechTask"]

TEXTS = ("text", "sentence", "transcription", "transcript")


class Freeze(StrEnum):
    """How much of the model stays as it is."""

    NONE = "none"
    FEATURE_ENCODER = "feature-encoder"
    ENCODER = "encoder"


class SpeechTask(StrEnum):
    """What a Whisper of several languages does."""

    TRANSCRIBE = "transcribe"
    TRANSLATE = "translate"


class SpeechRecognitionSettings(TrainingSettings):
    learning_rate: Annotated[float, Field(gt=0, le=1_000)] = 3e-5
    """Highest step size of AdamW. For a CTC model with a new vocabulary, 1e-4 to 3e-4 are usual."""
    batch_size: Annotated[int, Field(ge=1, le=65_536)] = 8
    """Examples of one optimizer step."""
    freeze: Freeze | None = None
    """What stays as it is: nothing, the convolutions that hear the sound, or the whole encoder (of a CTC model, all but
    the head). By default nothing of a Whisper, and the convolutions of a CTC model."""
    trained_layers: Annotated[int, Field(ge=0, le=1000)] = 0
    """Train only so many of the last layers (of a Whisper, of its decoder) and a CTC model's head. 0: all that `freeze`
    leaves."""
    max_seconds: Annotated[float, Field(gt=0, le=1800)] = 30.0
    """Rows whose sound is longer are left out. A Whisper hears 30 seconds at most."""
    language: Annotated[str, Field(max_length=8)] = ""
    """What is spoken, as ISO 639-1 (de): needed for a Whisper of several languages, and for no other model."""
    task: SpeechTask = SpeechTask.TRANSCRIBE
    """Of a Whisper of several languages: whether the texts are in the language that is spoken, or in English."""
    new_vocabulary: bool = False
    """Of a CTC model: learn the characters of the training texts with a new head, even where the base has its own."""
    mask_time: Annotated[float | None, Field(ge=0, lt=1)] = None
    """Share of the time that is hidden from the model in training, drawn anew for each example and epoch (SpecAugment,
    Park et al. 2019). By default 0.05 for CTC models, and 0 for Whisper."""
    mask_span: Annotated[int, Field(ge=1, le=1000)] = 10
    """How many frames are hidden in one piece: of 10 ms for Whisper, of 20 ms for wav2vec 2.0."""
    mask_bands: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Share of the frequency bands that are hidden in training. Of Whisper alone."""
    normalise: bool = True
    """Measure texts without case and punctuation; otherwise as they are."""


def _start(start: Start[SpeechRecognitionSettings]) -> Learner:
    from modelzoo.loading import read_json

    config = read_json(start.base / "config.json")
    if isinstance(config, dict) and config.get("model_type") == "whisper":  # pyright: ignore[reportUnknownMemberType]
        from zoo_trainer.recipes.whisper import WhisperLearner

        return WhisperLearner(start)
    from zoo_trainer.recipes.ctc import CtcLearner

    return CtcLearner(start)


RECIPE = Recipe(
    name="speech-recognition",
    settings=SpeechRecognitionSettings,
    start=_start,
    base_tasks=("automatic-speech-recognition", "feature-extraction"),
    task="automatic-speech-recognition",
    columns=("|".join(SOUNDS), "|".join(TEXTS)),
    metric="wer",
    lower_is_better=True,
)
