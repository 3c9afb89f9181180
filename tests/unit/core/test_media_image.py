"""Pictures from bytes: what is read, how, and what is refused with which reason."""

import base64
import io
import struct
import threading
import tracemalloc
import zlib

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image, ImageFile, ImageOps

from modelzoo.errors import InvalidArgument
from modelzoo.media.image import PIXELS_MAX, RATIO_MAX, decode_image
from support.bad_media import HTML, SVG, jpeg_of_many_scans, noise_picture, picture, png, png_chunk, tiff

FORMS = ("PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF")


def refused(data: bytes, field: str = "image") -> InvalidArgument:
    with pytest.raises(InvalidArgument) as raised:
        decode_image(data, field=field)
    assert raised.value.field == field
    assert raised.value.message.startswith(f"{field} ")
    return raised.value


def colours(image: Image.Image) -> list[tuple[int, ...]]:
    return [tuple(pixel) for pixel in np.asarray(image).reshape(-1, 3).tolist()]


@pytest.mark.parametrize("form", FORMS)
def test_each_format_gives_what_pillow_gives(form: str):
    data = picture(noise_picture(), form)
    expected = Image.open(io.BytesIO(data)).convert("RGB")
    got = decode_image(data)
    assert (got.mode, got.size) == ("RGB", (64, 48))
    assert got.tobytes() == expected.tobytes()


@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP", "TIFF"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_turned_picture_comes_upright(form: str, orientation: int):
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = picture(noise_picture(30, 20), form, exif=exif)
    expected = ImageOps.exif_transpose(Image.open(io.BytesIO(data))).convert("RGB")
    got = decode_image(data)
    assert got.size == ((20, 30) if orientation >= 5 else (30, 20))
    assert got.tobytes() == expected.tobytes()


@pytest.mark.parametrize("form", ["PNG", "TIFF"])
def test_grey_of_16_bits_is_scaled_not_cut_off(form: str):
    levels = np.array([[0, 256, 32768, 65535]], dtype=np.uint16)
    assert colours(decode_image(picture(Image.fromarray(levels), form))) == [(v, v, v) for v in (0, 1, 128, 255)]


def test_colours_of_16_bits_are_scaled():
    row = b"\0" + struct.pack(">6H", 65535, 0, 32768, 256, 512, 1024)
    assert colours(decode_image(png(2, 1, depth=16, rows=row))) == [(255, 0, 128), (1, 2, 4)]


@pytest.mark.parametrize(
    ("mode", "form", "colour", "expected"),
    [
        ("1", "PNG", 1, (255, 255, 255)),
        ("L", "PNG", 77, (77, 77, 77)),
        ("LA", "PNG", (77, 0), (77, 77, 77)),
        ("P", "GIF", 0, (9, 8, 7)),
        ("PA", "TIFF", (0, 0), (9, 8, 7)),
        ("RGBA", "PNG", (9, 8, 7, 0), (9, 8, 7)),
        ("RGBA", "WEBP", (8, 8, 8, 255), (8, 8, 8)),
        ("CMYK", "TIFF", (255, 0, 0, 0), (0, 255, 255)),
        ("CMYK", "JPEG", (255, 0, 0, 0), (0, 255, 255)),
    ],
)
def test_every_mode_becomes_rgb_and_transparency_is_dropped(
    mode: str, form: str, colour: int | tuple[int, ...], expected: tuple[int, int, int]
):
    image = Image.new(mode, (3, 2), colour)
    if mode in ("P", "PA"):
        image.putpalette([9, 8, 7] * 16)
    got = decode_image(picture(image, form))
    assert got.mode == "RGB"
    assert colours(got)[0] == expected


def test_a_palette_with_transparency_does_not_warn():
    image = Image.new("P", (3, 2), 1)
    image.putpalette([0, 0, 0, 9, 8, 7])
    assert colours(decode_image(picture(image, "PNG", transparency=bytes([0, 128]))))[0] == (9, 8, 7)


@pytest.mark.parametrize("mode", ["I", "F"])
def test_samples_of_32_bits_are_refused(mode: str):
    assert "32 bits" in refused(picture(Image.new(mode, (3, 2), 1), "TIFF")).message


@pytest.mark.parametrize("form", ["GIF", "PNG", "WEBP"])
def test_of_an_animation_the_first_frame_is_taken(form: str):
    frames = [Image.new("RGB", (8, 8), colour) for colour in ("red", "lime")]
    data = picture(frames[0], form, save_all=True, append_images=frames[1:], lossless=True)
    assert colours(decode_image(data))[0] == (255, 0, 0)


WRONG = {
    "SVG": (SVG, "SVG"),
    "HTML": (HTML, "HTML"),
    "PDF": (b"%PDF-1.7\n", "PDF"),
    "JSON": (b'{"image": "a.png"}', "JSON"),
    "base64": (base64.b64encode(png(4, 4, rows=bytes(52))), "base64"),
    "data URL": (b"data:image/png;base64,iVBORw0KGgo=", "base64"),
    "address": (b"https://example.com/cat.jpg", "address"),
    "text": (b"a picture of a cat", "plain text"),
    "MP4": (b"\0\0\0\x20ftypisom\0\0\2\0", "MP4"),
    "HEIC": (b"\0\0\0\x20ftypheic\0\0\0\0", "HEIC"),
    "AVI": (b"RIFF\0\0\0\0AVI LIST", "AVI"),
    "WAV": (b"RIFF\0\0\0\0WAVEfmt ", "WAV"),
    "EPS": (b"%!PS-Adobe-3.0 EPSF-3.0\n", "PostScript"),
    "PSD": (b"8BPS\0\1", "Photoshop"),
    "ICO": (b"\0\0\1\0\1\0", "icon"),
    "zip": (b"PK\3\4\x14\0", "zip"),
    "pickle": (b"\x80\x04\x95\0\0\0\0", "nothing known"),
    "zeros": (bytes(100), "nothing known"),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_is_no_picture_is_named(name: str):
    data, says = WRONG[name]
    error = refused(data)
    assert error.reason == "IMAGE_INVALID"
    assert says in error.message


def test_no_bytes_are_an_empty_input():
    assert refused(b"", field="upload").reason == "INPUT_EMPTY"


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("part", [0.02, 0.3, 0.7, 0.95])
def test_a_picture_that_breaks_off_is_refused(form: str, part: float):
    data = picture(noise_picture(), form)
    assert refused(data[: max(1, int(len(data) * part))]).reason == "IMAGE_INVALID"


@pytest.mark.parametrize("form", FORMS)
def test_every_short_prefix_is_refused(form: str):
    data = picture(noise_picture(), form)
    assert {refused(data[:length]).reason for length in range(1, 64)} == {"IMAGE_INVALID"}


def test_a_huge_picture_in_a_kilobyte_is_refused_by_its_header():
    data = png(30_000, 30_000)
    assert len(data) < 1024
    error = refused(data)
    assert error.reason == "IMAGE_TOO_LARGE"
    assert error.metadata == {"width": "30000", "height": "30000", "pixels_max": str(PIXELS_MAX)}


def test_the_largest_that_webp_can_be_is_refused():
    content = b"VP8L" + struct.pack("<I", 8) + b"\x2f" + struct.pack("<I", 16382 | 16382 << 14) + bytes(3)
    assert refused(b"RIFF" + struct.pack("<I", 4 + len(content)) + b"WEBP" + content).reason == "IMAGE_TOO_LARGE"


@pytest.mark.parametrize(("width", "height"), [(1, 100_000), (RATIO_MAX + 1, 1)])
def test_a_line_is_refused_because_it_grows_when_resized(width: int, height: int):
    data = png(width, height, rows=bytes((3 * width + 1) * height))
    assert f"{width} x {height}" in refused(data).message
    assert decode_image(png(RATIO_MAX, 1, rows=bytes(3 * RATIO_MAX + 1))).size == (RATIO_MAX, 1)


def test_zero_pixels_are_refused():
    assert refused(png(0, 5)).reason == "IMAGE_INVALID"


@pytest.mark.parametrize("name", [b"zTXt", b"iCCP"])
def test_a_compressed_chunk_that_unpacks_to_a_hundred_megabytes_is_refused(name: bytes):
    chunk = png_chunk(name, b"k\0\0" + zlib.compress(bytes(100_000_000)))
    tracemalloc.start()
    try:
        refused(png(4, 4, rows=bytes(52), chunks=chunk))
        assert tracemalloc.get_traced_memory()[1] < 8_000_000
    finally:
        tracemalloc.stop()


def test_a_tiff_of_two_million_strips_is_refused_unread():
    count = 2_000_000
    data = tiff(10, 10, {273: (4, count, 134), 279: (4, count, 134)}, bytes(4 * count))
    tracemalloc.start()
    try:
        assert "values" in refused(data).message
        assert tracemalloc.get_traced_memory()[1] < 1_000_000
    finally:
        tracemalloc.stop()


def test_a_tiff_tile_larger_than_any_picture_is_refused():
    entries = {259: (3, 1, 5), 322: (4, 1, 30_000), 323: (4, 1, 30_000), 324: (4, 1, 8), 325: (4, 1, 900)}
    assert "30000 x 30000" in refused(tiff(10, 10, entries, bytes(1000))).message


def test_a_jpeg_of_a_thousand_scans_is_refused():
    assert "scans" in refused(jpeg_of_many_scans(1000)).message
    assert decode_image(jpeg_of_many_scans(1)).size == (256, 256)


def test_a_video_behind_a_photo_does_not_count_as_scans():
    data = picture(noise_picture(), "JPEG") + b"\xff\xda\0\2" * 1000
    assert decode_image(data).size == (64, 48)


def test_a_damaged_exif_block_neither_warns_nor_refuses():
    broken = b"Exif\0\0II*\0\x08\0\0\0\xff\xff\x12\x01\x03\0\x01\0\0\0\x06\0\0\0" + b"\1" * 30
    rationals = b"II*\0\x08\0\0\0\1\0" + struct.pack("<HHII", 0x0112, 5, 1_000_000, 26) + bytes(8_000_004)
    assert decode_image(picture(noise_picture(30, 20), "JPEG", exif=broken)).size == (20, 30)
    chunk = png_chunk(b"eXIf", rationals)
    assert decode_image(png(3, 2, rows=bytes(20), chunks=chunk)).size == (3, 2)


def test_the_first_bytes_decide_what_a_polyglot_is():
    gif = picture(noise_picture(), "GIF")
    assert decode_image(gif + HTML).size == (64, 48)
    assert "HTML" in refused(HTML + gif).message
    assert "PDF" in refused(b"%PDF-1.4\n" + picture(noise_picture(), "JPEG")).message


def test_threads_do_not_disturb_each_other_and_leave_no_flag():
    pictures = [picture(noise_picture(seed=seed), FORMS[seed % len(FORMS)]) for seed in range(12)]
    expected = [decode_image(data).tobytes() for data in pictures]
    got: dict[int, list[bytes]] = {}
    work = [
        threading.Thread(target=lambda n=n: got.update({n: [decode_image(data).tobytes() for data in pictures]}))
        for n in range(4)
    ]
    for thread in work:
        thread.start()
    for thread in work:
        thread.join()
    assert [got[n] for n in range(4)] == [expected] * 4
    assert not ImageFile.LOAD_TRUNCATED_IMAGES


VALID = [picture(noise_picture(16, 12), form) for form in FORMS] + [
    picture(noise_picture(16, 12), "JPEG", progressive=True),
    picture(noise_picture(16, 12), "TIFF", compression="tiff_lzw"),
    picture(noise_picture(16, 12).quantize(), "PNG"),
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
def test_a_mutated_picture_is_read_or_refused(data: bytes):
    assert outcome(data) in {"RGB", "IMAGE_INVALID", "IMAGE_TOO_LARGE", "INPUT_EMPTY"}


def outcome(data: bytes) -> str:
    try:
        image = decode_image(data)
    except InvalidArgument as error:
        return error.reason
    return image.mode if image.width * image.height <= PIXELS_MAX else "too large"
