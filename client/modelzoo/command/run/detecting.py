"""Detectors: what is where in each picture, and the pictures with it drawn in."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from modelzoo.command.pictures import check_format, write_drawing
from modelzoo.command.run.inputs import PICTURE, FileInput, read_files
from modelzoo.command.run.options import RunOptions
from modelzoo.command.terminal import answer, note, print_table

if TYPE_CHECKING:
    from modelzoo.client import Client
    from modelzoo.records import Box, Detections

__all__ = ["detect", "plan_drawings"]


def detect(client: "Client", ref: str, inputs: Sequence[str], options: RunOptions) -> None:
    """A table of the objects; with `out`, also pictures."""
    files = read_files(ref, PICTURE, inputs)
    targets = [None] * len(files) if options.out is None else plan_drawings(options.out, files)
    sources = [file.source for file in files]
    found = client.map(client.detect_objects, ref, sources, threshold=options.threshold)
    for file, target, each in zip(files, targets, found, strict=True):
        if target is not None:
            write_drawing(file.source, each.detections, target)
            note(f"wrote {target}")
    results = [
        {
            "input": file.name,
            "detections": each.detections,
            "width": each.width,
            "height": each.height,
            "computed": each.computed,
            "out": target,
        }
        for file, target, each in zip(files, targets, found, strict=True)
    ]
    answer({"reference": ref, "results": results}, lambda: _print(files, found))


def plan_drawings(out: Path, files: Sequence[FileInput]) -> list[Path]:
    """Where the picture of each input goes: `out` itself, or files of their names, as PNG, in the folder `out`.

    LOCAL_PATH_INVALID where that cannot be, or would replace an input.
    """
    if len(files) == 1 and not out.is_dir():
        check_format(out)
        targets = [out]
    else:
        targets = _inside(out, files)
    inputs = {file.source.resolve() for file in files if isinstance(file.source, Path)}
    for target in targets:
        if target.resolve() in inputs:
            raise _unwritable(target, "it is one of the inputs")
    return targets


def _inside(folder: Path, files: Sequence[FileInput]) -> list[Path]:
    try:
        folder.mkdir(exist_ok=True)
    except OSError as error:
        raise _unwritable(folder, f"several pictures need a folder ({error.strerror})") from error
    taken: dict[str, int] = {}
    targets: list[Path] = []
    for file in files:
        stem = file.source.stem if isinstance(file.source, Path) else "stdin"
        taken[stem] = taken.get(stem, 0) + 1
        targets.append(folder / (f"{stem}.png" if taken[stem] == 1 else f"{stem}-{taken[stem]}.png"))
    return targets


def _print(files: Sequence[FileInput], found: "Sequence[Detections]") -> None:
    print_table(
        ("INPUT", "SCORE", "BOX", "LABEL"),
        [
            (file.name, f"{detection.label.score:.3f}", _corners(detection.box), detection.label.label)
            for file, each in zip(files, found, strict=True)
            for detection in each.detections
        ],
    )
    empty = [file.name for file, each in zip(files, found, strict=True) if not each.detections]
    if empty:
        note(f"nothing found in {', '.join(empty)}; a lower --threshold shows what is less certain")


def _corners(box: "Box") -> str:
    return f"{box.x_min:.0f},{box.y_min:.0f} {box.x_max:.0f},{box.y_max:.0f}"


def _unwritable(path: Path, why: str) -> Exception:
    from modelzoo.errors import InvalidArgument

    return InvalidArgument("LOCAL_PATH_INVALID", f"'{path}' cannot be written: {why}.")
