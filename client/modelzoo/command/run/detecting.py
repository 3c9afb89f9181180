"""Detectors: what is where in each picture, and the pictures with it drawn in."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from modelzoo.command.pictures import check_format, enlargement, write_drawing
from modelzoo.command.run.each import answer_each, run_each
from modelzoo.command.run.inputs import PICTURE, FileInput, read_files
from modelzoo.command.run.options import RunOptions
from modelzoo.command.terminal import note, print_table

if TYPE_CHECKING:
    from modelzoo.client import Client
    from modelzoo.errors import ZooError
    from modelzoo.records import Box, Detections

__all__ = ["detect", "plan_drawings"]


@dataclass(frozen=True, slots=True)
class _Found:
    detections: "Detections"
    drawing: Path | None


def detect(client: "Client", ref: str, inputs: Sequence[str], options: RunOptions) -> None:
    """A table of the objects; with `out`, also pictures."""
    files = read_files(ref, PICTURE, inputs)
    targets = [None] * len(files) if options.out is None else plan_drawings(options.out, files)
    answers = run_each(client, client.detect_objects, ref, files, threshold=options.threshold)
    found = [_drawn(file, each, target) for file, each, target in zip(files, answers, targets, strict=True)]
    answer_each(ref, files, found, _fields, lambda good: _print(good, options.threshold))


def _drawn(file: FileInput, found: "Detections | ZooError", target: Path | None) -> "_Found | ZooError":
    from modelzoo.errors import ZooError

    if isinstance(found, ZooError):
        return found
    if target is not None:
        write_drawing(file.source, found.detections, target)
        scale = enlargement(found.width, found.height)
        note(f"wrote {target}" + (f", enlarged {scale} times; boxes are told in the input's pixels" * (scale > 1)))
    return _Found(found, target)


def _fields(found: _Found) -> dict[str, Any]:
    return {
        "detections": found.detections.detections,
        "width": found.detections.width,
        "height": found.detections.height,
        "computed": found.detections.computed,
        "out": found.drawing,
    }


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
    if folder.suffix and not folder.is_dir():
        raise _unwritable(folder, "several pictures need a folder, and this looks like a file: give a folder's name")
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


def _print(found: "Sequence[tuple[FileInput, _Found]]", threshold: float | None) -> None:
    from modelzoo.pipelines import THRESHOLD_DEFAULT

    rows = [
        (file.name, f"{detection.label.score:.3f}", _corners(detection.box), detection.label.label)
        for file, each in found
        for detection in each.detections.detections
    ]
    if rows:
        print_table(("INPUT", "SCORE", "BOX", "LABEL"), rows)
    empty = [file.name for file, each in found if not each.detections.detections]
    if empty:
        least = THRESHOLD_DEFAULT if threshold is None else threshold
        note(f"nothing found in {', '.join(empty)} at a score of {least:g} or more; lower --threshold")


def _corners(box: "Box") -> str:
    return f"{box.x_min:.0f},{box.y_min:.0f} {box.x_max:.0f},{box.y_max:.0f}"


def _unwritable(path: Path, why: str) -> Exception:
    from modelzoo.errors import InvalidArgument

    return InvalidArgument("LOCAL_PATH_INVALID", f"'{path}' cannot be written: {why}.")
