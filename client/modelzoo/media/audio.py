"""Sound from the bytes of files, within limits, by libsndfile."""

import io
from typing import TYPE_CHECKING

from modelzoo.errors import InvalidArgument
from modelzoo.media.kind import Kind, kind_of

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = ["CHANNELS_MAX", "RATE_HZ_MAX", "RATE_HZ_MIN", "SECONDS_MAX", "decode_audio"]

SECONDS_MAX = 30 * 60
RATE_HZ_MIN, RATE_HZ_MAX = 4_000, 192_000
CHANNELS_MAX = 8


def decode_audio(data: bytes, rate_hz: int, *, field: str = "audio") -> "NDArray[np.float32]":
    """The sound in `data`: float32 of shape (samples,) at `rate_hz`, channels averaged, full scale 1."""
    import numpy as np
    import soundfile
    from scipy.signal import resample_poly

    if not data:
        raise InvalidArgument("INPUT_EMPTY", f"{field} has no bytes; send a sound file.", field=field)
    kind = kind_of(data)
    if kind not in (Kind.WAV, Kind.FLAC, Kind.OGG, Kind.MP3):
        raise InvalidArgument("AUDIO_INVALID", f"{field} looks like {kind}. Send WAV, FLAC, Ogg or MP3.", field=field)
    try:
        with soundfile.SoundFile(io.BytesIO(data)) as sound:
            samples = sound.read(dtype="float32", always_2d=True).mean(axis=1)
            source_hz = sound.samplerate
    except soundfile.LibsndfileError as error:
        raise InvalidArgument("AUDIO_INVALID", f"{field} is {kind} that is damaged: {error}", field=field) from error
    return np.asarray(resample_poly(samples, rate_hz, source_hz), dtype=np.float32)
