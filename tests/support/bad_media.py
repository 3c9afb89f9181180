"""Picture and sound files, good and hostile, made on the spot."""

import io
import struct
import zlib
from collections.abc import Sequence
from typing import Any

import numpy as np
import soundfile
from numpy.typing import NDArray
from PIL import Image

__all__ = [
    "flac_of_unknown_length",
    "jpeg_of_many_scans",
    "noise_picture",
    "picture",
    "png",
    "silence",
    "sound",
    "tiff",
    "tone",
    "wav",
    "wav_claiming",
]

SVG = b'<?xml version="1.0"?>\n<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"><rect/></svg>'
HTML = b"<!DOCTYPE html>\n<html><body><script>alert(1)</script></body></html>"
ENCODE_FRAMES = 4096  # more at once make libsndfile's Vorbis encoder overflow its stack


def picture(image: Image.Image, form: str = "PNG", **options: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, form, **options)
    return file.getvalue()


def noise_picture(width: int = 64, height: int = 48, seed: int = 0) -> Image.Image:
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8))


def png(width: int, height: int, *, depth: int = 8, colour: int = 2, rows: bytes = b"", chunks: bytes = b"") -> bytes:
    """A PNG file with any header; `rows` are compressed here (PNG specification, 11.2)."""
    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    start = b"\x89PNG\r\n\x1a\n" + png_chunk(b"IHDR", header) + chunks
    return start + png_chunk(b"IDAT", zlib.compress(rows, 9)) + png_chunk(b"IEND", b"")


def png_chunk(name: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))


def jpeg_of_many_scans(count: int) -> bytes:
    """A progressive JPEG whose last scan comes again and again."""
    whole = picture(noise_picture(256, 256), "JPEG", progressive=True)
    last = whole.rindex(b"\xff\xda")
    return whole[:last] + whole[last:-2] * count + whole[-2:]


def tiff(width: int, height: int, entries: dict[int, tuple[int, int, int]], tail: bytes = b"") -> bytes:
    """A grey TIFF file of one directory; entries are tag: (type, count, value or offset)."""
    usual = {256: (4, 1, width), 257: (4, 1, height), 258: (3, 1, 8), 259: (3, 1, 1), 262: (3, 1, 1), 277: (3, 1, 1)}
    packed = [struct.pack("<HHII", tag, *entry) for tag, entry in sorted({**usual, **entries}.items())]
    return b"II*\0" + struct.pack("<IH", 8, len(packed)) + b"".join(packed) + b"\0" * 4 + tail


def tone(seconds: float, rate_hz: int = 16_000, channels: int = 1) -> NDArray[np.float32]:
    """440 Hz at half of full scale, shape (samples, channels)."""
    times = np.arange(int(seconds * rate_hz)) / rate_hz
    return np.repeat(0.5 * np.sin(2 * np.pi * 440 * times)[:, None], channels, axis=1).astype(np.float32)


def silence(seconds: int, form: str = "FLAC", rate_hz: int = 16_000) -> bytes:
    """Ten hours of it are two megabytes of FLAC."""
    minute = np.zeros((60 * rate_hz, 1), np.float32)
    return _encoded([minute] * (seconds // 60), rate_hz, 1, form, None)


def sound(samples: NDArray[np.float32], rate_hz: int = 16_000, form: str = "WAV", encoding: str | None = None) -> bytes:
    pieces = [samples[at : at + ENCODE_FRAMES] for at in range(0, len(samples), ENCODE_FRAMES)]
    return _encoded(pieces, rate_hz, samples.shape[1], form, encoding)


def _encoded(
    pieces: Sequence[NDArray[np.float32]], rate_hz: int, channels: int, form: str, encoding: str | None
) -> bytes:
    file = io.BytesIO()
    with soundfile.SoundFile(file, "w", rate_hz, channels, format=form, subtype=encoding) as writer:
        for piece in pieces:
            writer.write(piece)
    return file.getvalue()


def wav(content: bytes, *, rate_hz: int = 16_000, channels: int = 1, is_float: bool = False) -> bytes:
    """A WAV file with any header, of 16-bit integers or 32-bit floats."""
    width = 4 if is_float else 2
    bytes_a_second = rate_hz * channels * width & 0xFFFFFFFF
    form = struct.pack("<HHIIHH", 3 if is_float else 1, channels, rate_hz, bytes_a_second, channels * width, 8 * width)
    chunks = b"fmt " + struct.pack("<I", len(form)) + form + b"data" + struct.pack("<I", len(content)) + content
    return b"RIFF" + struct.pack("<I", 4 + len(chunks)) + b"WAVE" + chunks


def wav_claiming(size_bytes: int, content: bytes) -> bytes:
    """A WAV file that says it has `size_bytes` of samples."""
    return wav(content).replace(b"data" + struct.pack("<I", len(content)), b"data" + struct.pack("<I", size_bytes), 1)


def flac_of_unknown_length(samples: NDArray[np.float32]) -> bytes:
    """As programs write that encode into a pipe: STREAMINFO counts 0 samples (RFC 9639, 8.2)."""
    content = bytearray(sound(samples, form="FLAC"))
    content[21] &= 0xF0
    content[22:26] = bytes(4)
    return bytes(content)
