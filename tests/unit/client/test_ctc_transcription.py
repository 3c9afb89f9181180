"""CTC models write down speech as transformers decodes them, in windows, whatever they are computed with."""

from pathlib import Path
from typing import Any

import numpy
import pytest
import torch
from transformers import Wav2Vec2ForCTC, Wav2Vec2Processor

from modelzoo.errors import FailedPrecondition
from modelzoo.media.audio import decode_audio
from modelzoo.tasks.opening import open_task
from modelzoo.tasks.task import Task, task_of
from modelzoo.tasks.transcription import RATE_HZ, Transcriber
from support.tiny_speech import spoken, tiny_ctc, tiny_hearing

TEXTS = ("low middle high", "high", "middle low")


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_ctc(tmp_path_factory.mktemp("models") / "ctc")


@pytest.fixture(scope="module")
def transcriber(base: Path) -> Transcriber:
    model = open_task(base)
    assert isinstance(model, Transcriber)
    return model


def sounds() -> list[Any]:
    return [decode_audio(spoken(text, seed), RATE_HZ) for seed, text in enumerate(TEXTS)]


def test_a_ctc_model_transcribes() -> None:
    assert task_of("Wav2Vec2ForCTC") is task_of("HubertForCTC") is Task.TRANSCRIBE


def test_what_is_written_is_what_transformers_decodes(base: Path, transcriber: Transcriber) -> None:
    model, processor = Wav2Vec2ForCTC.from_pretrained(base), Wav2Vec2Processor.from_pretrained(base)
    for sound in sounds():
        with torch.inference_mode():
            best = model(**processor(sound, sampling_rate=RATE_HZ, return_tensors="pt")).logits.argmax(-1)
        expected = processor.batch_decode(best)[0]
        (said,) = transcriber.compute(transcriber.prepare(sound))
        assert said.text
        assert said.text == " ".join(expected.replace("<s>", "").replace("</s>", "").replace("<unk>", "").split())
        assert 0 <= said.segments[0].start_s < said.segments[0].end_s <= len(sound) / RATE_HZ


def test_sounds_of_different_lengths_are_heard_together_as_alone(transcriber: Transcriber) -> None:
    windows = [window for sound in sounds() for window in transcriber.prepare(sound)]
    together = transcriber.compute(windows)
    assert [each.text for each in together] == [transcriber.compute([window])[0].text for window in windows]


def test_a_sound_shorter_than_a_frame_and_silence_are_no_failure(transcriber: Transcriber) -> None:
    (window,) = transcriber.prepare(numpy.full(10, 0.5, numpy.float32))
    assert transcriber.compute([window])[0].text == transcriber.compute([window])[0].text
    assert transcriber.prepare(numpy.zeros(RATE_HZ, numpy.float32)) == []


def test_any_language_may_be_named_as_nobody_knows_which_it_is(transcriber: Transcriber) -> None:
    transcriber.check_language("de")


def test_a_model_without_a_head_is_told_so(tmp_path: Path) -> None:
    with pytest.raises(FailedPrecondition) as caught:
        open_task(tiny_hearing(tmp_path / "hearing"))
    assert caught.value.reason == "MODEL_UNSUPPORTED"
