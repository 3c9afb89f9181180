"""What the client answers of the past: the zoo's log of changes, and what versions were made from."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

__all__ = ["Change", "Edge", "Lineage", "LineageEdge", "LineageNode", "Parent"]


@dataclass(frozen=True, slots=True)
class Change:
    """A row of the zoo's log. `before` and `after` are what the resource said; None: it did not exist, or does no
    longer. `on_behalf_of` and `cause` are for whom a service did it, and why: a job's name."""

    sequence: int
    time: datetime | None
    actor: str
    action: str
    resource: str
    before: Mapping[str, Any] | None
    after: Mapping[str, Any] | None
    on_behalf_of: str = ""
    cause: str = ""

    @property
    def who(self) -> str:
        """The actor, and for whom and why where it did it for another."""
        return f"{self.actor} for {self.on_behalf_of}, {self.cause}" if self.on_behalf_of else self.actor


@dataclass(frozen=True, slots=True)
class Parent:
    """What a version is made from. `kind` is FINE_TUNED, ADAPTER, MERGED, QUANTISED or DERIVED, in any case and with
    `-` or `_`; the rest is '' where nothing is said."""

    reference: str
    kind: str = "DERIVED"
    job: str = ""
    dataset: str = ""
    code: str = ""


@dataclass(frozen=True, slots=True)
class Edge:
    """`child` was made from `parent`, both `namespace/name@version`."""

    child: str
    parent: str
    kind: str
    job: str
    dataset: str
    code: str
    create_time: datetime | None
    actor: str


@dataclass(frozen=True, slots=True)
class LineageNode:
    """A version; `reference` and `state` are '' where it is hidden from the caller."""

    reference: str
    state: str
    task: str
    create_time: datetime | None
    hidden: bool


@dataclass(frozen=True, slots=True)
class LineageEdge:
    """`child` and `parent` are indices of nodes."""

    child: int
    parent: int
    kind: str
    job: str
    dataset: str
    code: str
    create_time: datetime | None
    actor: str


@dataclass(frozen=True, slots=True)
class Lineage:
    """Nodes, the version asked for first, and the edges between them. `truncated`: there is more."""

    nodes: tuple[LineageNode, ...]
    edges: tuple[LineageEdge, ...]
    truncated: bool
