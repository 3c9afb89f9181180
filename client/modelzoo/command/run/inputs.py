"""What `zoo run` is given: texts, or files of the kind that the model takes."""

import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from modelzoo.command.terminal import note
from modelzoo.media.kind import Kind, kind_of

__all__ = ["PICTURE", "SOUND", "FileInput", "Media", "read_files", "read_stdin", "read_texts"]

STDIN = "-"
START_BYTES = 1024


@dataclass(frozen=True, slots=True)
class Media:
    """A kind of file: its name in a sentence, what it may be, and a common ending."""

    name: str
    formats: str
    kinds: frozenset[Kind]
    ending: str


PICTURE = Media(
    "a picture",
    "PNG, JPEG, WebP, GIF, BMP or TIFF",
    frozenset({Kind.PNG, Kind.JPEG, Kind.WEBP, Kind.GIF, Kind.BMP, Kind.TIFF}),
    ".jpg",
)
SOUND = Media("a sound", "WAV, FLAC, Ogg or MP3", frozenset({Kind.WAV, Kind.FLAC, Kind.OGG, Kind.MP3}), ".wav")


@dataclass(frozen=True, slots=True)
class FileInput:
    """A file by the name it was given, and where its bytes are: there, or here already."""

    name: str
    source: Path | bytes


def read_texts(ref: str, inputs: Sequence[str]) -> list[str]:
    """Each input as a text; `-` is a text for each line of standard input, blank ones left out.

    INPUT_EMPTY where there is none; TASK_MISMATCH where one is the path of a picture or a sound.
    """
    from modelzoo.errors import InvalidArgument

    for given in inputs:
        _check_text(ref, given)
    texts = [
        text for given in inputs for text in (read_stdin().splitlines() if given == STDIN else [given]) if text.strip()
    ]
    if not texts:
        raise InvalidArgument("INPUT_EMPTY", "There is no text: give one or more, or lines on standard input.")
    return texts


def read_stdin() -> str:
    """Standard input as a text; TEXT_INVALID where it is not UTF-8."""
    from modelzoo.errors import InvalidArgument

    try:
        return sys.stdin.buffer.read().decode()
    except UnicodeDecodeError as error:
        raise InvalidArgument("TEXT_INVALID", "Standard input is not UTF-8 text.") from error


def read_files(ref: str, media: Media, inputs: Sequence[str]) -> list[FileInput]:
    """Each input as a file; `-` is standard input.

    LOCAL_PATH_INVALID, saying what to give, where there is no such file; TASK_MISMATCH where it is of the other kind.
    """
    return [_file(ref, media, given) for given in inputs]


def _file(ref: str, media: Media, given: str) -> FileInput:
    from modelzoo.errors import FailedPrecondition, InvalidArgument

    if given == STDIN:
        data = sys.stdin.buffer.read()
        found, source = kind_of(data[:START_BYTES]), data
    else:
        if os.path.isdir(given):
            raise InvalidArgument(
                "LOCAL_PATH_INVALID",
                f"{given!r} is a folder, and {ref} takes files: give {os.path.join(given, '*' + media.ending)}, "
                "for example.",
            )
        if not os.path.isfile(given):
            raise InvalidArgument(
                "LOCAL_PATH_INVALID",
                f"{ref} takes {media.name}: give the path of a file ({media.formats}), or - for standard input. "
                f"There is no file {given[:200]!r}.",
            )
        found, source = _kind(given), Path(given)
    other = SOUND if media is PICTURE else PICTURE
    if found in other.kinds:
        raise FailedPrecondition(
            "TASK_MISMATCH", f"{ref} takes {media.name} ({media.formats}), and {given!r} is {found}."
        )
    return FileInput(given, source)


def _check_text(ref: str, given: str) -> None:
    from modelzoo.errors import FailedPrecondition

    if given == STDIN or not os.path.isfile(given):
        return
    found = _kind(given)
    if found in PICTURE.kinds | SOUND.kinds:
        raise FailedPrecondition(
            "TASK_MISMATCH", f"{ref} takes text, and {given!r} is {found}: give a text in quotes, or - for lines."
        )
    note(f"{given!r} is taken as a text; `zoo run {ref} - < {given}` reads the file")


def _kind(path: str) -> Kind:
    from modelzoo.errors import InvalidArgument

    try:
        with open(path, "rb") as file:
            return kind_of(file.read(START_BYTES))
    except OSError as error:
        raise InvalidArgument("LOCAL_PATH_INVALID", f"{path!r} cannot be read: {error.strerror}.") from error
