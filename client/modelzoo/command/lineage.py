"""`zoo lineage`: what a version was made from, and what was made from it."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated

import typer

from modelzoo.command.arguments import ReferenceArgument
from modelzoo.command.session import open_client
from modelzoo.command.terminal import answer, line, note, short_time

if TYPE_CHECKING:
    from modelzoo.records import Lineage, LineageEdge, LineageNode, Parent

__all__ = ["parent_of", "register"]

KINDS = ("fine-tuned", "adapter", "merged", "quantised", "derived")


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("lineage")(lineage)


def lineage(
    ref: ReferenceArgument,
    up: Annotated[bool, typer.Option("--up", help="Only what it was made from.")] = False,
    down: Annotated[bool, typer.Option("--down", help="Only what was made from it.")] = False,
    depth: Annotated[int, typer.Option(min=1, max=16, metavar="STEPS", help="How far to look.")] = 16,
) -> None:
    """Draw what a version was made from, with which dataset and by which job, and what was made from it, as `zoo push
    --parent` and trainings said. Parents that you may not see are shown as hidden."""
    with open_client() as client:
        found = client.lineages.get(ref, direction="both" if up == down else "up" if up else "down", depth=depth)
    answer(found, lambda: _print(found))


def parent_of(text: str) -> "Parent":
    """`REF` or `REF:KIND`, as `push --parent` takes it."""
    from modelzoo.records import Parent

    reference, colon, kind = text.rpartition(":")
    if not colon or reference.endswith("@sha256"):
        return Parent(text)
    if kind.lower().replace("_", "-") not in KINDS:
        raise typer.BadParameter(f"{kind!a} is not one of {', '.join(KINDS)}.", param_hint="--parent")
    return Parent(reference, kind)


def _print(found: "Lineage") -> None:
    line(_node(found.nodes[0]))
    for title, up in (("made from", True), ("became", False)):
        if branches := _branches(found, 0, up=up):
            line(f"{title}:")
            for text in _drawn(found, branches, up=up, shown=set(), indent=""):
                line(text)
    if found.truncated:
        note("there is more: ask for one of these versions")


def _branches(found: "Lineage", node: int, *, up: bool) -> "list[tuple[LineageEdge, int]]":
    """The edges from the node in this direction, and where each leads."""
    return [(e, e.parent if up else e.child) for e in found.edges if node == (e.child if up else e.parent)]


def _drawn(
    found: "Lineage", branches: "list[tuple[LineageEdge, int]]", *, up: bool, shown: set[int], indent: str
) -> Iterator[str]:
    for place, (edge, index) in enumerate(branches):
        is_last = place == len(branches) - 1
        beyond = _branches(found, index, up=up)
        again = index in shown and bool(beyond)
        shown.add(index)
        kind = edge.kind.lower().replace("_", "-")
        text = f"{kind}  {_node(found.nodes[index])}{_how(edge)}{'  (drawn above)' if again else ''}"
        yield f"{indent}{'└─' if is_last else '├─'} {text}"
        if not again:
            yield from _drawn(found, beyond, up=up, shown=shown, indent=f"{indent}{'  ' if is_last else '│ '} ")


def _how(edge: "LineageEdge") -> str:
    said = (("with", edge.dataset), ("by", edge.job))
    return "".join(f"  {word} {what}" for word, what in said if what)


def _node(node: "LineageNode") -> str:
    if node.hidden:
        return "(not visible to you)"
    state = "" if node.state == "READY" else f"  {node.state.lower()}"
    return f"{node.reference}{state}  {short_time(node.create_time)}"
