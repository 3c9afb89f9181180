"""Which version an adapter belongs to: the one that its lineage names, by number, and never whatever is newest."""

from typing import TYPE_CHECKING

from modelzoo.errors import FailedPrecondition, NotFound, PermissionDenied
from modelzoo.history_records import Lineage
from modelzoo.records import Version

if TYPE_CHECKING:
    from modelzoo.client import Client

__all__ = ["FORMAT", "READABLE", "base_missing", "base_named", "base_of", "check_base"]

FORMAT = "adapter"
EDGE = "ADAPTER"
READABLE = ("READY", "DEPRECATED")


def base_named(found: Lineage, adapter: str) -> str:
    """The reference, `namespace/name@number`, of the base in the lineage above `adapter`. Raises ADAPTER_BASE_MISSING
    where there is not one, or the caller may not see it."""
    parents = [found.nodes[edge.parent] for edge in found.edges if edge.kind == EDGE and edge.child == 0]
    if len(parents) == 1 and not parents[0].hidden:
        return parents[0].reference
    if len(parents) > 1:
        why = "its lineage names several bases"
    else:
        why = "its base is hidden from you" if parents else "its lineage names no base"
    raise base_missing(adapter, f"{why}: name it with --base NAMESPACE/NAME@VERSION, of `zoo merge`")


def base_of(client: "Client", adapter: Version, named: str = "") -> Version:
    """The base of an adapter, `named` or as its lineage says. Raises ADAPTER_BASE_MISSING; ADAPTER_UNSUITABLE where it
    is an adapter itself; ACCESS_NOT_GRANTED where it is gated."""
    reference = named or base_named(client.lineages.get(adapter.reference, direction="up", depth=1), adapter.reference)
    try:
        version = client.version(reference)
    except (NotFound, PermissionDenied) as error:
        if error.reason == "ACCESS_NOT_GRANTED":
            raise
        raise base_missing(
            adapter.reference, f"{reference} is not there any more, or hidden from you: {error.message}"
        ) from error
    if version.state not in READABLE:
        why = f"{version.reference} is {version.state}: bring it back, or name another with --base, of `zoo merge`"
        raise base_missing(adapter.reference, why)
    check_base(version.facts.format, adapter.reference)
    return version


def check_base(base_format: str, adapter: str) -> None:
    """Raise ADAPTER_UNSUITABLE where the base of `adapter` has the format of an adapter."""
    if base_format == FORMAT:
        raise FailedPrecondition(
            "ADAPTER_UNSUITABLE",
            f"{adapter} is an adapter of an adapter, and only a full model can be a base: `zoo merge` makes one of its "
            f"base; then `zoo merge {adapter} --base` that, or publish it again with that as its parent.",
            metadata={"reference": adapter},
        )


def base_missing(adapter: str, why: str) -> FailedPrecondition:
    return FailedPrecondition(
        "ADAPTER_BASE_MISSING",
        f"{adapter} cannot be added to its base: {why}.",
        metadata={"reference": adapter},
    )
