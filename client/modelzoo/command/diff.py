"""`zoo diff`: what changed between two versions."""

import json
from typing import TYPE_CHECKING, Annotated, Any

import typer

from modelzoo.command.bars import progress_bar
from modelzoo.command.session import open_client
from modelzoo.command.terminal import answer, counted, line, note, print_table, shortened, size_text

if TYPE_CHECKING:
    from modelzoo.records import TensorInfo
    from modelzoo.version_diff import Diff, Kind, MetricChange, TensorChange

__all__ = ["register"]

DIFFERENT = 1
_SIGNS: "dict[Kind, str]" = {"added": "+", "removed": "-", "changed": "~"}
_SIDE = "A reference, or a local directory (it begins with `.`, `/` or `~`)."


def register(app: typer.Typer) -> None:
    """Add the command."""
    epilog = "Examples:\n\n\b\n  zoo diff team/chat@7 team/chat@8\n  zoo diff --norms team/chat ./fine-tuned"
    app.command("diff", epilog=epilog)(diff)


def diff(
    a: Annotated[str, typer.Argument(metavar="A", help=f"The version before. {_SIDE}")],
    b: Annotated[str, typer.Argument(metavar="B", help="The version after, or a local directory.")],
    norms: Annotated[
        bool | None,
        typer.Option(
            "--norms/--no-norms",
            help="Compute the relative norm of every changed tensor; by default as far as 256 MiB of reading go.",
        ),
    ] = None,
    exit_code: Annotated[bool, typer.Option("--exit-code", help="End with 1 if they differ, as diff does.")] = False,
) -> None:
    """Show what changed between two versions, of one model or of two: settings of config.json, files, metrics, tensors
    and the relative norm of their change, ||a-b||/||a||. What both share is not fetched."""
    with open_client() as client, progress_bar(f"comparing {a} and {b}") as progress:
        found = client.diff(a, b, norms=norms, progress=progress)
    answer(found, lambda: _print(found, a, b))
    if exit_code and not found.is_same:
        raise typer.Exit(DIFFERENT)


def _print(found: "Diff", *asked: str) -> None:
    for letter, side, name in zip("ab", (found.a, found.b), asked, strict=True):
        means = "" if name == side.name else f" ({name})"
        line(f"{letter}: {side.name}{means}  {size_text(side.size_bytes)} in {counted(side.file_count, 'file')}")
    if found.metrics:
        line()
        rows = [(_measured(e), _number(e.before), _number(e.after)) for e in found.metrics]
        print_table(("METRIC", "A", "B"), rows)
    if found.is_same:
        line("the same files with the same content")
        return
    if found.config:
        line()
        rows = [(_SIGNS[each.kind], each.key, _value(each.before), _value(each.after)) for each in found.config]
        print_table(("", "CONFIG", "A", "B"), rows)
    if found.files:
        line()
        rows = [(_SIGNS[e.kind], e.path, _size(e.size_before), _size(e.size_after)) for e in found.files]
        print_table(("", "FILE", "A", "B"), rows)
    if found.tensors:
        line()
        print_table(("", "TENSOR", "A", "B", "NORM"), [_tensor(change) for change in found.tensors])
    line()
    differ = "tensor differs" if len(found.tensors) == 1 else "tensors differ"
    line(f"{len(found.tensors)} {differ}, {found.tensors_same} the same")
    if found.norms_left_out:
        note(f"norms of {found.norms_left_out} tensors were not computed, to read less: --norms does")


def _measured(metric: "MetricChange") -> str:
    return f"{metric.name} of {metric.dataset}{f' ({metric.split})' if metric.split else ''}"


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.4g}"


def _tensor(change: "TensorChange") -> tuple[str, str, str, str, str]:
    norm = "" if change.norm is None else f"{change.norm:.3g}"
    return _SIGNS[change.kind], change.name, _form(change.before), _form(change.after), norm


def _form(info: "TensorInfo | None") -> str:
    return "-" if info is None else f"{info.dtype} {list(info.shape)}"


def _size(size_bytes: int | None) -> str:
    return "-" if size_bytes is None else size_text(size_bytes)


def _value(value: Any) -> str:
    return "-" if value is None else shortened(json.dumps(value, ensure_ascii=False))
