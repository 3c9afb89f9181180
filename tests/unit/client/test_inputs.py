"""Pictures and sounds as callers hold them become files of the same pixels and samples."""

import io
from pathlib import Path

import numpy
import pytest
import soundfile
from PIL import Image

from modelzoo.errors import ZooError
from modelzoo.inputs import audio_bytes, image_bytes

PIXELS = numpy.random.default_rng(0).integers(0, 256, (4, 6, 3), dtype=numpy.uint8)
SIXTEEN_KHZ = 16_000


def decoded(data: bytes) -> numpy.ndarray:
    return numpy.asarray(Image.open(io.BytesIO(data)).convert("RGB"))


@pytest.mark.parametrize(
    "wrap", [str, Path, lambda path: path.read_bytes(), lambda path: io.BytesIO(path.read_bytes())]
)
def test_file_goes_as_it_is(tmp_path: Path, wrap):
    path = tmp_path / "cat.bin"
    path.write_bytes(b"whatever it is")
    assert image_bytes(wrap(path)) == audio_bytes(wrap(path)) == b"whatever it is"


@pytest.mark.parametrize("image", [PIXELS, Image.fromarray(PIXELS), Image.fromarray(PIXELS).convert("RGBA")])
def test_pixels_survive(image: object):
    assert (decoded(image_bytes(image)) == PIXELS).all()


@pytest.mark.parametrize("grey", [PIXELS[:, :, 0], PIXELS[:, :, :1]])
def test_grey_array_is_a_grey_picture(grey: numpy.ndarray):
    assert (decoded(image_bytes(grey)) == PIXELS[:, :, :1]).all()


def test_pil_image_is_turned_as_its_file_would_be():
    lying = Image.fromarray(PIXELS)
    lying.getexif()[0x0112] = 6
    assert (decoded(image_bytes(lying)) == numpy.rot90(PIXELS, -1)).all()


def test_cmyk_image_becomes_rgb():
    assert decoded(image_bytes(Image.new("CMYK", (2, 2), (0, 255, 255, 0)))).tolist() == [[[255, 0, 0]] * 2] * 2


@pytest.mark.parametrize("dtype", ["float32", "float64", "int16"])
@pytest.mark.parametrize("channels", [1, 2, 3])
def test_samples_survive(dtype: str, channels: int):
    whole = numpy.random.default_rng(0).integers(-(2**15), 2**15, (1001, channels)).astype("int16")
    given = whole if dtype == "int16" else (whole / 2**15).astype(dtype)
    back, rate_hz = soundfile.read(io.BytesIO(audio_bytes(given, SIXTEEN_KHZ)), dtype="float32", always_2d=True)
    assert rate_hz == SIXTEEN_KHZ
    assert (back == (whole / numpy.float32(2**15))).all()


@pytest.mark.parametrize(
    ("image", "reason"),
    [
        ("nowhere.png", "LOCAL_PATH_INVALID"),
        (".", "LOCAL_PATH_INVALID"),
        ("a\0b", "LOCAL_PATH_INVALID"),
        (b"", "INPUT_EMPTY"),
        (numpy.zeros((0, 4, 3), "uint8"), "INPUT_EMPTY"),
        (b"x" * 1001, "REQUEST_TOO_LARGE"),
        (io.BytesIO(b"x" * 1001), "REQUEST_TOO_LARGE"),
        (PIXELS / 255, "FIELD_INVALID"),
        (PIXELS.transpose(2, 0, 1), "FIELD_INVALID"),
        (Image.new("F", (2, 2)), "FIELD_INVALID"),
        (io.StringIO("text"), "FIELD_INVALID"),
        (7, "FIELD_INVALID"),
    ],
)
def test_what_is_no_picture_is_refused(image: object, reason: str):
    with pytest.raises(ZooError) as caught:
        image_bytes(image, bytes_max=1000)
    assert caught.value.reason == reason


@pytest.mark.parametrize(
    ("audio", "rate_hz", "reason"),
    [
        (numpy.zeros(9, "float32"), None, "FIELD_INVALID"),
        (numpy.zeros(9, "float32"), 0, "FIELD_INVALID"),
        (numpy.zeros(9, "int64"), SIXTEEN_KHZ, "FIELD_INVALID"),
        (numpy.zeros((2, 3, 4), "float32"), SIXTEEN_KHZ, "FIELD_INVALID"),
        (numpy.zeros((9, 70_000), "float32"), SIXTEEN_KHZ, "FIELD_INVALID"),
        (numpy.zeros(0, "float32"), SIXTEEN_KHZ, "INPUT_EMPTY"),
        (b"RIFF", SIXTEEN_KHZ, "FIELD_INVALID"),
        ([0.0, 1.0], SIXTEEN_KHZ, "FIELD_INVALID"),
        (numpy.zeros(250, "float32"), SIXTEEN_KHZ, "REQUEST_TOO_LARGE"),
    ],
)
def test_what_is_no_sound_is_refused(audio: object, rate_hz: int | None, reason: str):
    with pytest.raises(ZooError) as caught:
        audio_bytes(audio, rate_hz, bytes_max=1000)
    assert caught.value.reason == reason
