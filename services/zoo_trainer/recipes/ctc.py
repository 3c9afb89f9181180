"""The part of the recipe speech-recognition that is of CTC models alone."""

from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, cast

import torch
from torch import nn
from torch.nn import functional
from torch.nn.utils.rnn import pad_sequence

from modelzoo.errors import FailedPrecondition, InvalidArgument
from modelzoo.loading import load_directory_for, read_json
from modelzoo.tasks.ctc_writer import frames_of
from modelzoo.tasks.files import ModelFiles
from modelzoo.tasks.transcription import RATE_HZ, Transcriber
from zoo_trainer.evaluation import Measurement
from zoo_trainer.recipes.characters import Characters, new_tokenizer
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

__all__ = ["CtcLearner"]

IGNORED = -100
MASK_TIME = 0.05
LACKING_SHOWN = 20
# What a tokenizer of the base's leaves behind that a new one would not replace.
_TOKENIZERS = ("tokenizer*", "vocab*", "special_tokens_map.json", "added_tokens.json", "normalizer.json")


class _Example(NamedTuple):
    """Normalised samples, the tokens of the text, and which frames are hidden."""

    samples: torch.Tensor
    text: list[int]
    hidden: torch.Tensor


class CtcLearner:
    """Learns the characters of texts, wherever in the sound they are said."""

    is_adapter = False

    def __init__(self, start: Start[SpeechRecognitionSettings]) -> None:
        from transformers import MODEL_FOR_CTC_MAPPING, Wav2Vec2Processor

        self._start = start
        self._settings = start.settings
        if start.settings.language or start.settings.task != "transcribe" or start.settings.mask_bands:
            raise InvalidArgument(
                "PARAMETER_INVALID", "language, task and mask_bands are Whisper's: leave them out for this base."
            )
        config: Any = read_json(start.base / "config.json") or {}
        extractor = _extractor(start.base)
        self._utterances = Utterances(start)
        tokenizer = None if start.settings.new_vocabulary else _own_tokenizer(start.base, config)
        self._is_new = tokenizer is None
        tokenizer = tokenizer or new_tokenizer(self._utterances.text(row) for row in start.train)
        self._share = MASK_TIME if start.settings.mask_time is None else start.settings.mask_time
        changes: dict[str, Any] = {"pad_token_id": tokenizer.pad_token_id}
        changes |= {"vocab_size": len(tokenizer)} if self._is_new else {}
        # A base that never hid anything has no vector for it.
        changes |= {"mask_time_prob": config.get("mask_time_prob") or self._share} if self._share else {}
        try:
            self.model, new = load_directory_for(
                start.base, MODEL_FOR_CTC_MAPPING, torch.float32, changes, fresh_head=self._is_new
            )
            self._drawn_anew(new)
            architecture = type(self.model).__name__
            self._processor: Any = cast(Any, Wav2Vec2Processor)(extractor, tokenizer)
            self._transcriber = Transcriber(ModelFiles(start.base, architecture, self.model, self._processor))
        except FailedPrecondition as error:
            raise FailedPrecondition(
                "BASE_UNSUITABLE", f"It cannot learn to write down speech: {error.message}"
            ) from error
        self._dtype: torch.dtype = getattr(torch, str(config.get("dtype") or config.get("torch_dtype") or "float32"))
        self._extractor = extractor
        self._blank: int = tokenizer.pad_token_id
        self._characters = Characters(tokenizer, normalised=self._is_new)
        self._hide_by_our_own_draws()
        self.rows: Sequence[Any] = self._utterances.fitting(start.settings.max_seconds, self._fits)
        self._say(len(tokenizer))
        self._freeze(start.settings)

    def encode(self, row: Row, generator: torch.Generator) -> _Example:
        example = self._example(self._utterances.sound(row), self._utterances.text(row))
        frames = _frames(cast(Any, self.model).config, len(example.samples))
        return example._replace(hidden=spans(frames, self._share, self._settings.mask_span, generator))

    def collate(self, examples: Sequence[_Example]) -> dict[str, torch.Tensor]:
        labels = [torch.tensor(each.text, dtype=torch.long) for each in examples]
        heard = [torch.ones(len(each.samples), dtype=torch.long) for each in examples]
        return {
            "input_values": pad_sequence([each.samples for each in examples], batch_first=True),
            "attention_mask": pad_sequence(heard, batch_first=True),
            "labels": pad_sequence(labels, batch_first=True, padding_value=IGNORED),
            "hidden": pad_sequence([each.hidden for each in examples], batch_first=True),
        }

    def items(self, batch: Mapping[str, torch.Tensor]) -> int:
        return int((batch["labels"] != IGNORED).sum())

    def loss(self, model: nn.Module, batch: Mapping[str, torch.Tensor]) -> torch.Tensor:
        """Of all ways to say each text in the time of its sound."""
        mask, labels = batch["attention_mask"], batch["labels"]
        masked = {"attention_mask": mask} if self._extractor.return_attention_mask else {}
        self._hidden = batch["hidden"] if bool(batch["hidden"].any()) else None
        try:
            logits = model(input_values=batch["input_values"], **masked).logits
        finally:
            self._hidden = None
        samples = cast(list[int], cast(Any, mask.sum(dim=1)).tolist())
        return functional.ctc_loss(
            functional.log_softmax(logits.float(), dim=-1).transpose(0, 1),
            labels[labels != IGNORED],
            torch.tensor([frames_of(self.model, each) for each in samples]),
            (labels != IGNORED).sum(dim=1).cpu(),
            blank=self._blank,
            reduction="sum",
            zero_infinity=True,
        )

    def measure(self, rows: Rows, batch_size: int, orders: Orders) -> Measurement:
        device = next(self.model.parameters()).device

        def loss(heard: "Sequence[tuple[NDArray[np.float32], str]]") -> tuple[float, int]:
            batch = self.collate([self._example(sound, text) for sound, text in heard])
            batch = {name: tensor.to(device) for name, tensor in batch.items()}
            return self.loss(self.model, batch).item(), self.items(batch)

        return self._utterances.measure(self.model, self._transcriber, rows, batch_size, orders, loss)

    def save(self, folder: Path) -> None:
        config = cast(Any, self.model).config
        for name, value in self._hiding.items():
            setattr(config, name, value)
        self._processor.save_pretrained(folder)
        kept = {file.name for file in folder.iterdir()}
        save_transformers(self.model, folder, self._start.base, self._dtype)
        if self._is_new:
            for file in (file for pattern in _TOKENIZERS for file in folder.glob(pattern)):
                if file.name not in kept:
                    file.unlink()

    def _example(self, sound: "NDArray[np.float32]", text: str) -> _Example:
        made: Any = self._extractor(sound, sampling_rate=RATE_HZ, return_tensors="pt")
        return _Example(made["input_values"][0], self._characters.encode(text), torch.zeros(0, dtype=torch.bool))

    def _fits(self, text: str, seconds: float) -> bool:
        """Whether there is a frame for each character, and one between two that are the same."""
        tokens = self._characters.encode(text)
        repeated = sum(first == second for first, second in pairwise(tokens))
        samples = round(seconds * RATE_HZ)
        return _frames(cast(Any, self.model).config, samples) > 0 and (
            frames_of(self.model, samples) >= len(tokens) + repeated
        )

    def _drawn_anew(self, new: frozenset[str]) -> None:
        """The vector that stands for what is hidden; transformers leaves it as the memory was."""
        for name, parameter in self.model.named_parameters():
            if name in new and name.endswith("masked_spec_embed"):
                with torch.no_grad():
                    parameter.uniform_()

    def _hide_by_our_own_draws(self) -> None:
        config = cast(Any, self.model).config
        ours = {"apply_spec_augment": True, "mask_time_prob": 0.0, "mask_feature_prob": 0.0}
        self._hiding = {name: getattr(config, name) for name in ours}
        for name, value in ours.items():
            setattr(config, name, value)
        self._hidden: torch.Tensor | None = None

        def hide(_: nn.Module, given: Any, named: dict[str, Any]) -> Any:
            return given, (named if self._hidden is None else {**named, "mask_time_indices": self._hidden})

        # Heads of CTC do not pass on what is to be hidden.
        cast(Any, self.model).base_model.register_forward_pre_hook(hide, with_kwargs=True)

    def _say(self, tokens: int) -> None:
        notes = self._start.notes
        if self._is_new:
            notes.append(f"A new vocabulary of {tokens} characters and a head for it were made.")
        if lacking := self._characters.lacking:
            shown = " ".join(each for each, _ in lacking.most_common(LACKING_SHOWN))
            notes.append(
                f"The vocabulary lacks {len(lacking)} characters of the texts, which were passed over: {shown}. "
                "new_vocabulary makes one that has those of train."
            )

    def _freeze(self, settings: SpeechRecognitionSettings) -> None:
        body: Any = cast(Any, self.model).base_model
        if settings.trained_layers:
            layers = body.encoder.layers
            if settings.trained_layers > len(layers):
                raise InvalidArgument(
                    "PARAMETER_INVALID", f"trained_layers is {settings.trained_layers}; the base has {len(layers)}."
                )
            body.requires_grad_(False)
            for layer in layers[-settings.trained_layers :]:
                layer.requires_grad_(True)
        elif settings.freeze is Freeze.ENCODER:
            body.requires_grad_(False)
        elif settings.freeze in (None, Freeze.FEATURE_ENCODER):
            body.feature_extractor.requires_grad_(False)


def _frames(config: Any, samples: int) -> int:
    """How many frames come out of the convolutions; 0 where they are longer than the sound."""
    for kernel, stride in zip(config.conv_kernel, config.conv_stride, strict=True):
        samples = max(0, (samples - kernel) // stride + 1)
    return samples


def _extractor(base: Path) -> Any:
    from transformers import AutoFeatureExtractor

    try:
        extractor = cast(Any, AutoFeatureExtractor).from_pretrained(
            base, local_files_only=True, trust_remote_code=False
        )
    # transformers raises every kind over foreign files.
    except Exception as error:
        raise FailedPrecondition(
            "BASE_UNSUITABLE", f"Its preprocessor_config.json does not say how it hears sounds: {str(error)[:300]}"
        ) from error
    if "input_values" not in extractor.model_input_names:
        raise FailedPrecondition("BASE_UNSUITABLE", "It does not hear samples, as wav2vec 2.0 and its kin do.")
    return extractor


def _own_tokenizer(base: Path, config: Mapping[str, Any]) -> Any:
    """The base's own, where it has a head for its characters; None otherwise."""
    from transformers import Wav2Vec2CTCTokenizer

    names = config.get("architectures") or [""]
    if not str(names[0]).endswith("ForCTC") or not (base / "vocab.json").is_file():
        return None
    try:
        return cast(Any, Wav2Vec2CTCTokenizer).from_pretrained(base, local_files_only=True)
    # transformers raises every kind over foreign files.
    except Exception as error:
        raise FailedPrecondition(
            "BASE_UNSUITABLE",
            f"Its vocabulary cannot be read ({str(error)[:300]}): set new_vocabulary, or mend the base.",
        ) from error
