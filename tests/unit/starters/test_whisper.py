"""Whisper as converted from its package, on the voices that Debian's alsa-utils has."""

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from numpy.typing import NDArray
from scipy.signal import resample_poly

from modelzoo.loading import load_directory, load_processor_directory
from zoo_starters.command import WORK
from zoo_starters.debs import extract
from zoo_starters.samples import ALSA_UTILS, VOICES
from zoo_starters.whisper import WHISPER

PACKAGES = WORK / "packages"
RATE_HZ = 16_000
# Rear_Right.wav is missing: whoever runs this network, CTranslate2 included, it writes "We're right."
SAID = ("Front Center", "Front Left", "Front Right", "Rear Center", "Rear Left", "Side Left", "Side Right")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("whisper")
    WHISPER.make(PACKAGES, made)
    return made


@pytest.fixture(scope="module")
def voices(tmp_path_factory: pytest.TempPathFactory) -> list[NDArray[np.float32]]:
    names = {f"{VOICES}/{name.replace(' ', '_')}.wav": f"{name}.wav" for name in SAID}
    folder = tmp_path_factory.mktemp("voices")
    extract(ALSA_UTILS.fetch(PACKAGES), folder, names)
    return [resampled(folder / f"{name}.wav") for name in SAID]


def resampled(path: Path) -> NDArray[np.float32]:
    samples, rate_hz = soundfile.read(path, dtype="float32")
    return resample_poly(samples, RATE_HZ, rate_hz).astype(np.float32)


def transcripts(folder: Path, voices: list[NDArray[np.float32]], **options: Any) -> list[str]:
    model: Any = load_directory(folder)
    processor = load_processor_directory(folder)
    features = processor(voices, sampling_rate=RATE_HZ, return_tensors="pt").input_features
    tokens = model.generate(features, **options)
    return processor.batch_decode(
        tokens, skip_special_tokens=True, decode_with_timestamps="return_timestamps" in options
    )


def words(text: str) -> list[str]:
    return re.findall(r"[a-z]+", text.lower())


def test_each_voice_is_written_down_as_the_name_it_says(folder: Path, voices: list[NDArray[np.float32]]) -> None:
    heard = transcripts(folder, voices)
    assert [words(text) for text in heard] == [words(name) for name in SAID]


def test_timestamps_lie_within_the_sound(folder: Path, voices: list[NDArray[np.float32]]) -> None:
    (text,) = transcripts(folder, voices[:1], return_timestamps=True)
    start, end = (float(time) for time in re.findall(r"<\|(\d+\.\d\d)\|>", text))
    assert (words(text), start) == (["front", "center"], 0.0)
    assert 0.5 < end <= len(voices[0]) / RATE_HZ + 0.5


def test_the_licence_and_an_honest_card_go_with_it(folder: Path) -> None:
    assert (folder / "LICENSE").read_text().startswith("MIT License\n\nCopyright (c) 2022 OpenAI")
    assert "license: mit" in (folder / "README.md").read_text()
    assert not [path for path in folder.iterdir() if path.is_dir()]
