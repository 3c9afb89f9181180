"""Samples into a WAV file (RIFF; Microsoft's WAVEFORMATEX): float32 as they are, or 16-bit PCM."""

import struct
from typing import TYPE_CHECKING, Any

from modelzoo.errors import InvalidArgument

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["encode_wav"]

PCM, IEEE_FLOAT = 1, 3
# Chunk sizes and rates are 32-bit numbers, channels a 16-bit one.
SIZE_MAX = 2**32 - 1
CHANNELS_MAX = 2**16 - 1


def encode_wav(samples: "NDArray[Any]", rate_hz: int) -> bytes:
    """A file of these samples, [samples] or [samples, channels]: int16, or floats from -1 to 1, written as float32.

    FIELD_INVALID for anything else, INPUT_EMPTY where there are none.
    """
    format_tag, encoded = (PCM, "<i2") if samples.dtype == "int16" else (IEEE_FLOAT, "<f4")
    if format_tag == IEEE_FLOAT and samples.dtype.kind != "f":
        raise _invalid("audio", f"Samples are floats from -1 to 1, or int16, not {samples.dtype}.")
    if samples.ndim not in (1, 2):
        raise _invalid("audio", f"Samples are an array [samples] or [samples, channels], not {list(samples.shape)}.")
    if not samples.size:
        raise InvalidArgument("INPUT_EMPTY", "The array has no samples.", field="audio")
    channels = 1 if samples.ndim == 1 else int(samples.shape[1])
    if channels > CHANNELS_MAX or not 0 < rate_hz <= SIZE_MAX:
        raise _invalid("rate_hz", f"{channels} channels at {rate_hz} Hz are not something that a sound file can say.")
    data = samples.astype(encoded).tobytes()
    width = 2 if format_tag == PCM else 4
    block = channels * width
    described = struct.pack(
        "<HHIIHHH", format_tag, channels, rate_hz, min(rate_hz * block, SIZE_MAX), block, width * 8, 0
    )
    chunks = _chunk(b"fmt ", described) + _chunk(b"fact", struct.pack("<I", len(samples))) + _chunk(b"data", data)
    return _chunk(b"RIFF", b"WAVE" + chunks)


def _chunk(name: bytes, content: bytes) -> bytes:
    """One chunk; content of an odd length is followed by a byte that its size leaves out."""
    if len(content) > SIZE_MAX:
        raise _invalid("audio", "The samples are over 4 GiB, more than a sound file holds.")
    return name + struct.pack("<I", len(content)) + content + b"\0" * (len(content) % 2)


def _invalid(field: str, message: str) -> InvalidArgument:
    return InvalidArgument("FIELD_INVALID", message, field=field)
