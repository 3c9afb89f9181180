"""Sound from bytes: what is read, how, and what is refused with which reason."""

import struct
import tracemalloc

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.signal import resample_poly

from modelzoo.errors import InvalidArgument
from modelzoo.media.audio import CHANNELS_MAX, SECONDS_MAX, decode_audio
from modelzoo.media.resampling import resample
from support.bad_media import (
    HTML,
    SVG,
    flac_of_unknown_length,
    noise_picture,
    picture,
    silence,
    sound,
    tone,
    wav,
    wav_claiming,
)

RATE_HZ = 16_000
LOSSLESS = [("WAV", "PCM_16"), ("WAV", "PCM_24"), ("WAV", "FLOAT"), ("WAV", "DOUBLE"), ("FLAC", "PCM_16")]
LOSSY = [("WAV", "ULAW"), ("WAV", "MS_ADPCM"), ("OGG", "VORBIS"), ("OGG", "OPUS"), ("MP3", "MPEG_LAYER_III")]


def refused(data: bytes, field: str = "audio") -> InvalidArgument:
    with pytest.raises(InvalidArgument) as raised:
        decode_audio(data, RATE_HZ, field=field)
    assert raised.value.field == field
    assert raised.value.message.startswith(f"{field} ")
    return raised.value


def loudest_hz(samples: NDArray[np.float32]) -> float:
    return float(np.argmax(np.abs(np.fft.rfft(samples)))) * RATE_HZ / len(samples)


@pytest.mark.parametrize(("form", "encoding"), LOSSLESS)
def test_a_lossless_file_comes_back_as_it_was(form: str, encoding: str):
    got = decode_audio(sound(tone(0.5), form=form, encoding=encoding), RATE_HZ)
    assert (got.dtype, got.shape) == (np.float32, (8000,))
    np.testing.assert_allclose(got, tone(0.5)[:, 0], atol=1 / 2**15)


@pytest.mark.parametrize(("form", "encoding"), LOSSY)
def test_a_lossy_file_keeps_its_length_and_pitch(form: str, encoding: str):
    got = decode_audio(sound(tone(1.0), form=form, encoding=encoding), RATE_HZ)
    assert len(got) == pytest.approx(RATE_HZ, abs=600)
    assert loudest_hz(got) == pytest.approx(440, abs=2)


@pytest.mark.parametrize("channels", [2, 7, CHANNELS_MAX])
def test_channels_are_averaged(channels: int):
    samples = np.zeros((1000, channels), np.float32)
    samples[:, 0] = 0.5
    got = decode_audio(sound(samples, encoding="FLOAT"), RATE_HZ)
    np.testing.assert_allclose(got, 0.5 / channels, rtol=1e-6)


@pytest.mark.parametrize("source_hz", [4_000, 8_000, 11_025, 15_999, 44_100, 44_101, 48_000, 192_000])
@pytest.mark.parametrize("count", [1, 100, 600_001])
def test_resampling_in_blocks_is_resampling_in_one_piece(source_hz: int, count: int):
    samples = np.random.default_rng(count).standard_normal(count).astype(np.float32)
    blocks = (samples[at : at + 65_536] for at in range(0, count, 65_536))
    np.testing.assert_array_equal(resample(blocks, source_hz, RATE_HZ), resample_poly(samples, RATE_HZ, source_hz))


def test_a_tone_at_48_khz_is_the_same_tone_at_16():
    got = decode_audio(sound(tone(20.0, 48_000, 2), 48_000), RATE_HZ)
    assert len(got) == 20 * RATE_HZ
    np.testing.assert_allclose(got[100:-100], tone(20.0)[100:-100, 0], atol=2e-3)


WRONG = {
    "SVG": (SVG, "SVG"),
    "HTML": (HTML, "HTML"),
    "PNG": (picture(noise_picture()), "PNG"),
    "text": (b"front center", "plain text"),
    "base64": (b"UklGRiQAAABXQVZFZm10IBAAAAABAAEAgD4AAAB9AAACABAAZGF0YQAAAAA=", "base64"),
    "AIFF": (sound(tone(0.1), form="AIFF"), "AIFF"),
    "AU": (sound(tone(0.1), form="AU"), "AU"),
    "AAC": (b"\xff\xf1\x50\x80", "AAC"),
    "M4A": (b"\0\0\0\x20ftypM4A \0\0\0\0", "M4A"),
    "MP4": (b"\0\0\0\x20ftypisom\0\0\2\0", "MP4"),
    "WebM": (b"\x1aE\xdf\xa3\x9f\x42\x86", "WebM"),
    "zeros": (bytes(1000), "nothing known"),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_is_no_sound_is_named(name: str):
    data, says = WRONG[name]
    error = refused(data)
    assert error.reason == "AUDIO_INVALID"
    assert says in error.message


@pytest.mark.parametrize("data", [b"", wav(b""), sound(tone(0.0), form="WAV")], ids=["bytes", "header", "written"])
def test_nothing_to_hear_is_an_empty_input(data: bytes):
    assert refused(data, field="upload").reason == "INPUT_EMPTY"


@pytest.mark.parametrize("rate_hz", [0, 1, 3_999, 192_001, 0xFFFFFFFF])
def test_a_rate_that_is_no_sounds_is_refused(rate_hz: int):
    assert refused(wav(bytes(200), rate_hz=rate_hz)).reason == "AUDIO_INVALID"


def test_too_many_channels_are_refused():
    assert "9 channels" in refused(wav(bytes(180), channels=9)).message


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1e30])
def test_a_sample_that_is_no_number_is_refused_and_told_when(value: float):
    samples = np.zeros(RATE_HZ, np.float32)
    samples[8_000] = value
    error = refused(wav(samples.tobytes(), is_float=True))
    assert error.reason == "AUDIO_INVALID"
    assert "0.500 s" in error.message


def test_infinities_that_cancel_out_are_no_number():
    samples = np.zeros((1_000, 2), np.float32)
    samples[10] = (np.inf, -np.inf)
    assert refused(wav(samples.tobytes(), channels=2, is_float=True)).reason == "AUDIO_INVALID"


@pytest.fixture(scope="module")
def ten_hours() -> bytes:
    return silence(36_000, "FLAC", 4_000)


def test_ten_hours_in_a_small_file_are_refused_by_its_header(ten_hours: bytes):
    assert len(ten_hours) < 2_000_000
    tracemalloc.start()
    try:
        error = refused(ten_hours)
        assert tracemalloc.get_traced_memory()[1] < 4_000_000
    finally:
        tracemalloc.stop()
    assert error.reason == "AUDIO_TOO_LONG"
    assert error.metadata == {"seconds": "36000", "seconds_max": str(SECONDS_MAX)}


def test_ten_hours_that_hide_their_length_are_counted(ten_hours: bytes):
    data = bytearray(ten_hours)
    data[21] &= 0xF0
    data[22:26] = bytes(4)
    error = refused(bytes(data))
    assert error.reason == "AUDIO_TOO_LONG"
    assert SECONDS_MAX < float(error.metadata["seconds"]) < SECONDS_MAX + 60


def test_an_mp3_without_a_length_is_counted():
    minute = silence(60, "MP3", 8_000)
    frames = minute[minute.index(minute[:2], 4) :]  # the first holds the length
    assert refused(frames * (SECONDS_MAX // 60 + 1)).reason == "AUDIO_TOO_LONG"


@pytest.mark.parametrize("claim", [0xFFFFFFFF, 0x7FFFFFFF, 0x7FFFF000])
def test_a_recorder_that_left_the_size_open_is_believed(claim: int):
    content = (tone(0.1)[:, 0] * 32767).astype("<i2").tobytes()
    assert len(decode_audio(wav_claiming(claim, content), RATE_HZ)) == 1600


@pytest.mark.parametrize("claim", [100_000, 1 << 30])
def test_a_wav_with_less_than_it_promises_is_refused(claim: int):
    error = refused(wav_claiming(claim, bytes(1000)))
    assert error.reason == "AUDIO_INVALID"
    assert f"{claim - 1000:,}" in error.message


def test_a_flac_of_unknown_length_is_as_long_as_it_is():
    samples = np.random.default_rng(0).uniform(-0.5, 0.5, (200_001, 1)).astype(np.float32)
    assert len(decode_audio(flac_of_unknown_length(samples), RATE_HZ)) == 200_001


def test_a_flac_that_claims_ten_hours_and_has_a_second_is_refused():
    data = bytearray(sound(tone(1.0), form="FLAC"))
    data[22:26] = struct.pack(">I", 36_000 * RATE_HZ)
    assert refused(bytes(data)).reason == "AUDIO_TOO_LONG"


@pytest.mark.parametrize("form", ["WAV", "FLAC"])
@pytest.mark.parametrize("part", [0.1, 0.5, 0.9])
def test_half_a_sentence_is_refused(form: str, part: float):
    data = sound(tone(2.0), form=form)
    assert refused(data[: int(len(data) * part)]).reason == "AUDIO_INVALID"


@pytest.mark.parametrize("form", ["OGG", "MP3"])
def test_a_stream_that_is_cut_gives_what_is_there(form: str):
    noise = np.random.default_rng(0).uniform(-0.5, 0.5, (8 * RATE_HZ, 1)).astype(np.float32)
    data = sound(noise, form=form)
    seconds = len(decode_audio(data[: len(data) * 6 // 10], RATE_HZ)) / RATE_HZ
    assert 2 < seconds < 6


@pytest.mark.parametrize("form", ["WAV", "FLAC", "OGG", "MP3"])
def test_every_short_prefix_is_refused(form: str):
    data = sound(tone(1.0), form=form)
    reasons = {refused(data[:length]).reason for length in range(1, 64)}
    assert reasons <= {"AUDIO_INVALID", "INPUT_EMPTY"}


def test_a_broken_header_prints_nothing(capfd: pytest.CaptureFixture[str]):
    whole = sound(tone(0.2), form="OGG")
    for at in range(0, 200, 3):
        outcome(whole[:at] + b"\xff\xff\xff\xff" + whole[at + 4 :])
    assert "Traceback" not in capfd.readouterr().err


VALID = [
    sound(tone(0.1, channels=2), form=form, encoding=encoding)
    for form, encoding in (*LOSSLESS[:1], *LOSSLESS[2:3], *LOSSLESS[4:], *LOSSY)
]


@st.composite
def mutated(draw: st.DrawFn) -> bytes:
    data = bytearray(draw(st.sampled_from(VALID)))
    for _ in range(draw(st.integers(1, 6))):
        at = draw(st.integers(0, len(data) - 1) | st.integers(0, min(79, len(data) - 1)))
        piece = draw(st.binary(min_size=0, max_size=4) | st.sampled_from([b"\xff\xff\xff\xff", bytes(4)]))
        data[at : at + draw(st.integers(0, 4))] = piece
        if not data:
            break
    return bytes(data)


@settings(max_examples=400, deadline=2000, suppress_health_check=[HealthCheck.too_slow])
@given(mutated())
def test_a_mutated_sound_is_read_or_refused(data: bytes):
    assert outcome(data) in {"read", "AUDIO_INVALID", "AUDIO_TOO_LONG", "INPUT_EMPTY"}


def outcome(data: bytes) -> str:
    try:
        samples = decode_audio(data, RATE_HZ)
    except InvalidArgument as error:
        return error.reason
    return "read" if np.isfinite(samples).all() and samples.dtype == np.float32 else "no numbers"
