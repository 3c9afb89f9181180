"""Speech: what was said, and when."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from modelzoo.command.run.each import answer_each, run_each
from modelzoo.command.run.inputs import SOUND, FileInput, read_files
from modelzoo.command.run.options import RunOptions
from modelzoo.command.terminal import line

if TYPE_CHECKING:
    from modelzoo.client import Client
    from modelzoo.records import Transcription

__all__ = ["transcribe"]


def transcribe(client: "Client", ref: str, inputs: Sequence[str], options: RunOptions) -> None:
    """The transcript of each sound; with `verbose`, its parts with their times."""
    files = read_files(ref, SOUND, inputs)
    found = run_each(client, client.transcribe, ref, files, language=options.language or "")
    named = len(files) > 1
    answer_each(ref, files, found, _fields, lambda good: _print(good, named=named, verbose=options.verbose))


def _fields(found: "Transcription") -> dict[str, Any]:
    return {
        "text": found.text,
        "segments": found.segments,
        "duration_s": found.duration_s,
        "output_tokens": found.output_tokens,
        "computed": found.computed,
    }


def _print(found: "Sequence[tuple[FileInput, Transcription]]", *, named: bool, verbose: bool) -> None:
    for number, (file, each) in enumerate(found):
        if named:
            line(f"{chr(10) * bool(number)}{file.name}:")
        if verbose:
            for segment in each.segments:
                line(f"[{_clock(segment.start_s)} - {_clock(segment.end_s)}] {segment.text}")
        else:
            line(each.text)


def _clock(seconds: float) -> str:
    """`1:02.5`: minutes, seconds, tenths."""
    tenths = round(seconds * 10)
    return f"{tenths // 600}:{tenths % 600 // 10:02d}.{tenths % 10}"
