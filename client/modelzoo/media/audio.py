"""Sound from the bytes of files, within limits, by libsndfile.

What a header claims about length is believed where it forbids (ten hours need no decoding to be refused) and never
where it allows: samples are counted as they come, a block at a time.
"""

import struct
from collections.abc import Iterator
from typing import TYPE_CHECKING

from modelzoo.errors import InvalidArgument
from modelzoo.media.kind import Kind, kind_of

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from modelzoo.media.sound_file import SoundHeader

__all__ = ["CHANNELS_MAX", "RATE_HZ_MAX", "RATE_HZ_MIN", "SECONDS_MAX", "decode_audio", "measure_audio"]

SECONDS_MAX = 30 * 60
RATE_HZ_MIN, RATE_HZ_MAX = 4_000, 192_000
CHANNELS_MAX = 8
# Full scale is 1. Some files hold floats of an integer's scale; none a larger one.
AMPLITUDE_MAX = 2.0**31

# Programs that record into a pipe cannot know the size: they write 0xFFFFFFFF, 0x7FFFFFFF or a little less.
WAV_SIZE_UNKNOWN = 0x7FFF_0000
# Some writers count the header in: so much may be missing.
WAV_SLACK_BYTES = 1024
WAV_CHUNKS_MAX = 1000

_CONTAINERS = {Kind.WAV: ("WAV", "WAVEX", "RF64"), Kind.FLAC: ("FLAC",), Kind.OGG: ("OGG",), Kind.MP3: ("MP3",)}
_ENCODINGS = frozenset(
    {
        *("PCM_U8", "PCM_S8", "PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE"),
        *("ULAW", "ALAW", "IMA_ADPCM", "MS_ADPCM", "GSM610"),
        *("VORBIS", "OPUS", "MPEG_LAYER_I", "MPEG_LAYER_II", "MPEG_LAYER_III"),
    }
)


def decode_audio(data: bytes, rate_hz: int, *, field: str = "audio") -> "NDArray[np.float32]":
    """The sound in `data`: float32 of shape (samples,) at `rate_hz`, full scale 1, its channels averaged.

    A WAV file whose size was left open by a recorder is as long as it is; so are MP3 and Ogg, which may be cut
    anywhere. A WAV or FLAC file with fewer samples than it promises is refused: half a sentence is a wrong answer.

    Raises, naming `field`: INPUT_EMPTY without bytes or samples; AUDIO_INVALID for anything but WAV, FLAC, Ogg Vorbis,
    Ogg Opus and MP3, for a rate outside 4 to 192 kHz, more than 8 channels, samples that are no numbers, and files
    that break off; AUDIO_TOO_LONG. Safe to call from several threads.
    """
    kind = _checked_kind(data, field)
    # soundfile and scipy are loaded only where sound is decoded.
    from modelzoo.media.resampling import resample
    from modelzoo.media.sound_file import SoundError

    try:
        header = _checked_header(data, kind, field)
        samples = resample(_mono(data, header, kind, field), header.rate_hz, rate_hz)
    except SoundError as error:
        raise _damaged(field, kind, error) from error
    if not len(samples):
        raise _empty(field, kind)
    return samples


def measure_audio(data: bytes, *, field: str = "audio") -> float:
    """How many seconds the sound lasts; nothing is kept of it, but every sample is decoded and looked at.

    Raises what `decode_audio` would.
    """
    kind = _checked_kind(data, field)
    from modelzoo.media.sound_file import SoundError

    try:
        header = _checked_header(data, kind, field)
        count = sum(map(len, _mono(data, header, kind, field)))
    except SoundError as error:
        raise _damaged(field, kind, error) from error
    if not count:
        raise _empty(field, kind)
    return count / header.rate_hz


def _checked_kind(data: bytes, field: str) -> Kind:
    if not data:
        raise InvalidArgument("INPUT_EMPTY", f"{field} has no bytes; send a sound file.", field=field)
    kind = kind_of(data)
    if kind not in _CONTAINERS:
        raise _invalid(
            field, f"is no sound that is read here: it looks like {kind}. Send WAV, FLAC, Ogg Vorbis or Opus, or MP3."
        )
    return kind


def _checked_header(data: bytes, kind: Kind, field: str) -> "SoundHeader":
    from modelzoo.media.sound_file import read_header

    header = read_header(data)
    _check_header(header, kind, field)
    if kind is Kind.WAV and (missing := _missing_bytes(data)) > WAV_SLACK_BYTES:
        raise _invalid(field, f"breaks off: {missing:,} bytes of its samples are missing. Send the whole file.")
    return header


def _check_header(header: "SoundHeader", kind: Kind, field: str) -> None:
    if header.container not in _CONTAINERS[kind] or header.encoding not in _ENCODINGS:
        raise _invalid(
            field, f"is {header.container} with {header.encoding} inside, which is not read here. Send PCM or FLAC."
        )
    if not RATE_HZ_MIN <= header.rate_hz <= RATE_HZ_MAX:
        raise _invalid(
            field,
            f"has {header.rate_hz:,} samples a second; {RATE_HZ_MIN:,} to {RATE_HZ_MAX:,} Hz are read. Resample it.",
        )
    if not 1 <= header.channels <= CHANNELS_MAX:
        raise _invalid(
            field, f"has {header.channels} channels; at most {CHANNELS_MAX} are averaged. Mix it down first."
        )
    # An MP3 file's is a guess from its first bit rate.
    if header.frames is not None and kind is not Kind.MP3 and header.frames > SECONDS_MAX * header.rate_hz:
        raise _too_long(field, header.frames / header.rate_hz)


def _mono(data: bytes, header: "SoundHeader", kind: Kind, field: str) -> "Iterator[NDArray[np.float32]]":
    """The mean of the channels, block by block, all checked."""
    import numpy as np

    from modelzoo.media.sound_file import read_blocks

    weights = np.full(header.channels, 1 / header.channels, np.float32)
    count = 0
    for block in read_blocks(data):
        # As block @ weights, without BLAS and its threads: ten times as fast.
        mean = np.einsum("ij,j->i", block, weights)
        # NaN compares as false too, and no mean of it is a number.
        is_number = np.abs(mean) <= AMPLITUDE_MAX
        if not is_number.all():
            at_s = (count + int(np.argmin(is_number))) / header.rate_hz
            raise _invalid(field, f"holds no number at {at_s:.3f} s, or one beyond every scale. Export it as PCM.")
        count += len(block)
        if count > SECONDS_MAX * header.rate_hz:
            raise _too_long(field, count / header.rate_hz)
        yield mean
    if kind is Kind.FLAC and header.frames is not None and count < header.frames:
        seconds, promised = count / header.rate_hz, header.frames / header.rate_hz
        raise _invalid(
            field, f"breaks off after {seconds:.1f} of the {promised:.1f} s it promises. Send the whole file."
        )


def _missing_bytes(wav: bytes) -> int:
    """How many bytes of samples a WAV file promises and lacks; 0 where it leaves their size open."""
    at = 12
    for _ in range(WAV_CHUNKS_MAX):
        if at + 8 > len(wav):
            break
        name, size = struct.unpack_from("<4sI", wav, at)
        if name == b"data":
            return 0 if size >= WAV_SIZE_UNKNOWN else max(0, at + 8 + size - len(wav))
        at += 8 + size + size % 2
    return 0


def _damaged(field: str, kind: Kind, error: Exception) -> InvalidArgument:
    return _invalid(field, f"is {kind} that breaks off or is damaged ({error}). Send the whole file.")


def _empty(field: str, kind: Kind) -> InvalidArgument:
    return InvalidArgument("INPUT_EMPTY", f"{field} is {kind} without a sample; record again.", field=field)


def _invalid(field: str, what: str) -> InvalidArgument:
    return InvalidArgument("AUDIO_INVALID", f"{field} {what}", field=field)


def _too_long(field: str, seconds: float) -> InvalidArgument:
    return InvalidArgument(
        "AUDIO_TOO_LONG",
        f"{field} lasts {seconds:,.0f} s; at most {SECONDS_MAX:,} s are transcribed in one request. Cut it into parts.",
        metadata={"seconds": f"{seconds:.0f}", "seconds_max": str(SECONDS_MAX)},
        field=field,
    )
