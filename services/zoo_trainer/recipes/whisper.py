"""The part of the recipe speech-recognition that is of Whisper alone."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, cast

import torch
from torch import nn
from torch.nn import functional
from torch.nn.utils.rnn import pad_sequence

from modelzoo.errors import FailedPrecondition, InvalidArgument
from modelzoo.loading import load_directory_for, load_processor_directory, read_json
from modelzoo.tasks.files import ModelFiles
from modelzoo.tasks.transcription import RATE_HZ, Transcriber
from zoo_trainer.evaluation import Measurement
from zoo_trainer.recipes.learner import Start
from zoo_trainer.recipes.masking import spans
from zoo_trainer.recipes.speech_recognition import Freeze, SpeechRecognitionSettings
from zoo_trainer.recipes.utterances import Utterances
from zoo_trainer.result import save_transformers
from zoo_trainer.rows import Row, Rows
from zoo_trainer.stopping import Orders

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = ["WhisperLearner"]

IGNORED = -100  # a label that is not learned from
ARCHITECTURE = "WhisperForConditionalGeneration"
# Languages that are written without spaces: elsewhere Whisper begins a text with one.
UNSPACED = frozenset({"zh", "ja", "th", "lo", "my", "yue"})


class _Example(NamedTuple):
    """Log-mel features [bands, frames], and the tokens of the text."""

    features: torch.Tensor
    text: list[int]


class WhisperLearner:
    """Learns the tokens of texts, given sounds and the tokens before them."""

    is_adapter = False

    def __init__(self, start: Start[SpeechRecognitionSettings]) -> None:
        from transformers import MODEL_FOR_SPEECH_SEQ_2_SEQ_MAPPING

        self._start = start
        self._settings = start.settings
        config: Any = read_json(start.base / "config.json") or {}
        try:
            self.model, new = load_directory_for(start.base, MODEL_FOR_SPEECH_SEQ_2_SEQ_MAPPING, torch.float32)
            if new:
                raise FailedPrecondition("MODEL_LOAD_FAILED", f"it lacks {len(new)} of its tensors")
            processor = load_processor_directory(start.base)
            self._transcriber = Transcriber(ModelFiles(start.base, ARCHITECTURE, self.model, processor))
        except FailedPrecondition as error:
            raise FailedPrecondition("BASE_UNSUITABLE", f"It writes down no speech: {error.message}") from error
        self._dtype: torch.dtype = getattr(torch, str(config.get("dtype") or config.get("torch_dtype") or "float32"))
        self._extractor, self._tokenizer = processor.feature_extractor, processor.tokenizer
        own = cast(Any, self.model)
        self._prompt = _prompt(own, start.settings)
        self._end: int = own.config.eos_token_id
        self._text_most = own.config.max_target_positions - len(self._prompt)
        # What is hidden is drawn here, by the generator of the row and the epoch.
        self._augments = bool(own.config.apply_spec_augment)
        own.config.apply_spec_augment = False
        self._utterances = Utterances(start)
        longest_s = min(start.settings.max_seconds, float(self._extractor.chunk_length))
        self.rows: Sequence[Any] = self._utterances.fitting(
            longest_s, lambda text, _: len(self._tokens(text)) <= self._text_most
        )
        self._freeze(start.settings)
        self._allow_what_is_learned()

    def encode(self, row: Row, generator: torch.Generator) -> _Example:
        sound = self._utterances.sound(row)
        example = self._example(sound, self._utterances.text(row))
        return example._replace(features=self._hidden(example.features, len(sound), generator))

    def collate(self, examples: Sequence[_Example]) -> dict[str, torch.Tensor]:
        given = [torch.tensor([*self._prompt, *each.text]) for each in examples]
        unlearned = [IGNORED] * (len(self._prompt) - 1)
        labels = [torch.tensor([*unlearned, *each.text, self._end]) for each in examples]
        return {
            "input_features": torch.stack([each.features for each in examples]),
            # No token sees those after it, so that padding needs no mask.
            "decoder_input_ids": pad_sequence(given, batch_first=True, padding_value=self._end),
            "labels": pad_sequence(labels, batch_first=True, padding_value=IGNORED),
        }

    def items(self, batch: Mapping[str, torch.Tensor]) -> int:
        return int((batch["labels"] != IGNORED).sum())

    def loss(self, model: nn.Module, batch: Mapping[str, torch.Tensor]) -> torch.Tensor:
        """Of each token of the text and of its end, given the sound and the tokens before it."""
        logits = model(
            input_features=batch["input_features"], decoder_input_ids=batch["decoder_input_ids"], use_cache=False
        ).logits
        labels = batch["labels"].flatten()
        return functional.cross_entropy(logits.flatten(0, 1).float(), labels, ignore_index=IGNORED, reduction="sum")

    def measure(self, rows: Rows, batch_size: int, orders: Orders) -> Measurement:
        device = next(self.model.parameters()).device

        def loss(heard: "Sequence[tuple[NDArray[np.float32], str]]") -> tuple[float, int]:
            examples = [self._example(sound, text) for sound, text in heard]
            # A text that is too long to be written is measured as far as it can be.
            batch = self.collate([each._replace(text=each.text[: self._text_most]) for each in examples])
            batch = {name: tensor.to(device) for name, tensor in batch.items()}
            return self.loss(self.model, batch).item(), self.items(batch)

        return self._utterances.measure(self.model, self._transcriber, rows, batch_size, orders, loss)

    def save(self, folder: Path) -> None:
        cast(Any, self.model).config.apply_spec_augment = self._augments
        save_transformers(self.model, folder, self._start.base, self._dtype)

    def _example(self, sound: "NDArray[np.float32]", text: str) -> _Example:
        made: Any = self._extractor(sound, sampling_rate=RATE_HZ, return_tensors="pt")
        return _Example(made["input_features"][0], self._tokens(text))

    def _tokens(self, text: str) -> list[int]:
        space = "" if self._settings.language in UNSPACED else " "
        return self._tokenizer.encode(space + text, add_special_tokens=False) if text else []

    def _hidden(self, features: torch.Tensor, samples: int, generator: torch.Generator) -> torch.Tensor:
        settings = self._settings
        if not settings.mask_time and not settings.mask_bands:
            return features
        features = features.clone()
        bands, frames = features.shape
        # Behind the sound there is silence, of which nothing need be hidden.
        heard = min(frames, samples // self._extractor.hop_length)
        features[:, :heard][:, spans(heard, settings.mask_time or 0.0, settings.mask_span, generator)] = 0.0
        features[spans(bands, settings.mask_bands, max(1, bands // 8), generator)] = 0.0
        return features

    def _freeze(self, settings: SpeechRecognitionSettings) -> None:
        whisper: Any = cast(Any, self.model).model
        if settings.trained_layers:
            layers = whisper.decoder.layers
            if settings.trained_layers > len(layers):
                raise InvalidArgument(
                    "PARAMETER_INVALID",
                    f"trained_layers is {settings.trained_layers}; the base's decoder has {len(layers)}.",
                )
            self.model.requires_grad_(False)
            whisper.decoder.layer_norm.requires_grad_(True)
            for layer in layers[-settings.trained_layers :]:
                layer.requires_grad_(True)
        elif settings.freeze is Freeze.ENCODER:
            whisper.encoder.requires_grad_(False)
        elif settings.freeze is Freeze.FEATURE_ENCODER:
            for convolution in (whisper.encoder.conv1, whisper.encoder.conv2):
                convolution.requires_grad_(False)

    def _allow_what_is_learned(self) -> None:
        """Whisper never writes some symbols, quotation marks among them: now those that the texts have may be."""
        generation: Any = cast(Any, self.model).generation_config
        suppressed: list[int] = list(getattr(generation, "suppress_tokens", None) or ())
        if suppressed:
            said = {token for row in self.rows for token in self._tokens(self._utterances.text(row))}
            generation.suppress_tokens = [token for token in suppressed if token not in said] or None


def _prompt(model: Any, settings: SpeechRecognitionSettings) -> list[int]:
    """The tokens with which the model starts to write, without timestamps; the model is set to do so by itself.

    PARAMETER_INVALID where a language is needed, not known, or of no use.
    """
    generation = model.generation_config
    start: int = model.config.decoder_start_token_id
    no_timestamps: int | None = getattr(generation, "no_timestamps_token_id", None)
    if no_timestamps is None:
        raise FailedPrecondition(
            "BASE_UNSUITABLE", "Its generation_config.json has no no_timestamps_token_id: publish the base with it."
        )
    languages: dict[str, int] = getattr(generation, "lang_to_id", None) or {}
    if not getattr(generation, "is_multilingual", False) or not languages:
        if settings.language not in ("", "en") or settings.task != "transcribe":
            raise InvalidArgument(
                "PARAMETER_INVALID", "The base knows one language: leave language and task out, or choose another base."
            )
        return [start, no_timestamps]
    token = f"<|{settings.language}|>"
    if token not in languages:
        known = ", ".join(sorted(name.strip("<|>") for name in languages))
        raise InvalidArgument("PARAMETER_INVALID", f"The base knows several languages: set language to one of {known}.")
    task: int = generation.task_to_id[settings.task.value]
    generation.language, generation.task = settings.language, settings.task.value
    generation.forced_decoder_ids = None
    return [start, languages[token], task, no_timestamps]
