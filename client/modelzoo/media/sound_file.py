"""libsndfile through soundfile, typed: a sound file in memory, read once from its start to its end."""
# soundfile has no types. pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportMissingTypeStubs=false

import io
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import soundfile
from numpy.typing import NDArray

__all__ = ["SoundError", "SoundHeader", "read_blocks", "read_header"]

BLOCK_FRAMES = 2**16
# libsndfile's greatest count, which it gives for files that do not say how long they are.
_UNKNOWN = 2**63 - 1

SoundError: type[Exception] = soundfile.SoundFileError


@dataclass(frozen=True, slots=True)
class SoundHeader:
    """What a file says of itself. `frames` is a claim; None where the file makes none.

    `container` and `encoding` are libsndfile's names: "WAV", "PCM_16".
    """

    container: str
    encoding: str
    rate_hz: int
    channels: int
    frames: int | None


def read_header(data: bytes) -> SoundHeader:
    """What the file in `data` says of itself. Raises SoundError."""
    with _Sequential(_Bytes(data)) as sound:
        frames = None if sound.frames == _UNKNOWN else int(sound.frames)
        return SoundHeader(sound.format, sound.subtype, int(sound.samplerate), int(sound.channels), frames)


def read_blocks(data: bytes) -> Iterator[NDArray[np.float32]]:
    """The samples as float32 of shape (up to BLOCK_FRAMES, channels), full scale 1. Raises SoundError."""
    with _Sequential(_Bytes(data)) as sound:
        while len(block := sound.read(BLOCK_FRAMES, dtype="float32", always_2d=True)):
            yield np.asarray(block, dtype=np.float32)


class _Sequential(soundfile.SoundFile):
    """Without the seek to where it is already that follows each read: it fails in a FLAC file of unknown length."""

    def seekable(self) -> bool:
        return False


class _Bytes(io.BytesIO):
    """Stays where it is when asked to go before the start, as a broken header asks: libsndfile's callbacks must not
    raise, or a traceback is printed."""

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        try:
            return super().seek(offset, whence)
        except (ValueError, OverflowError):
            return self.tell()
