"""Speech: what was said, and when."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from modelzoo.command.run.inputs import SOUND, FileInput, read_files
from modelzoo.command.run.options import RunOptions
from modelzoo.command.terminal import answer, line

if TYPE_CHECKING:
    from modelzoo.client import Client
    from modelzoo.records import Transcription

__all__ = ["transcribe"]


def transcribe(client: "Client", ref: str, inputs: Sequence[str], options: RunOptions) -> None:
    """The transcript of each sound; with `verbose`, its parts with their times."""
    files = read_files(ref, SOUND, inputs)
    found = client.map(client.transcribe, ref, [file.source for file in files], language=options.language or "")
    results = [
        {
            "input": file.name,
            "text": each.text,
            "segments": each.segments,
            "duration_s": each.duration_s,
            "output_tokens": each.output_tokens,
            "computed": each.computed,
        }
        for file, each in zip(files, found, strict=True)
    ]
    answer({"reference": ref, "results": results}, lambda: _print(files, found, verbose=options.verbose))


def _print(files: Sequence[FileInput], found: "Sequence[Transcription]", *, verbose: bool) -> None:
    for number, (file, each) in enumerate(zip(files, found, strict=True)):
        if len(files) > 1:
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
