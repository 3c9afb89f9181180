"""Records of the past from protobuf messages, as `wire` has the others."""

from collections.abc import Mapping
from typing import Any

from google.protobuf.json_format import MessageToDict
from google.protobuf.struct_pb2 import Struct

from modelzoo import records
from modelzoo.wire import time
from zoo.catalog.v1 import change_pb2, edge_pb2, lineage_service_pb2, model_pb2

__all__ = ["change", "edge", "edge_kind_to_pb", "lineage", "parent_to_pb"]


def change(pb: change_pb2.Change) -> records.Change:
    return records.Change(
        sequence=pb.sequence,
        time=time(pb.time),
        actor=pb.actor,
        action=pb.action,
        resource=pb.resource,
        before=_state(pb.before) if pb.HasField("before") else None,
        after=_state(pb.after) if pb.HasField("after") else None,
        on_behalf_of=pb.on_behalf_of,
        cause=pb.cause,
    )


def _state(pb: Struct) -> Mapping[str, Any]:
    state: dict[str, Any] = _whole(MessageToDict(pb))
    return state


def _whole(value: Any) -> Any:
    """Numbers that are whole as int: a Struct knows floats alone."""
    match value:
        case dict():
            return {name: _whole(item) for name, item in value.items()}  # pyright: ignore[reportUnknownVariableType]
        case list():
            return [_whole(item) for item in value]  # pyright: ignore[reportUnknownVariableType]
        case float() if value.is_integer():
            return int(value)
        case _:
            return value


def edge(pb: edge_pb2.Edge) -> records.Edge:
    return records.Edge(
        child=pb.child,
        parent=pb.parent,
        kind=_edge_kind(pb.kind),
        job=pb.job,
        dataset=pb.dataset,
        code=pb.code,
        create_time=time(pb.create_time),
        actor=pb.actor,
    )


def lineage(pb: lineage_service_pb2.GetLineageResponse) -> records.Lineage:
    nodes = tuple(
        records.LineageNode(
            reference=node.reference,
            state="" if node.hidden else model_pb2.VersionState.Name(node.state).removeprefix("VERSION_STATE_"),
            task=node.task,
            create_time=time(node.create_time),
            hidden=node.hidden,
        )
        for node in pb.nodes
    )
    edges = tuple(
        records.LineageEdge(
            child=each.child,
            parent=each.parent,
            kind=_edge_kind(each.kind),
            job=each.job,
            dataset=each.dataset,
            code=each.code,
            create_time=time(each.create_time),
            actor=each.actor,
        )
        for each in pb.edges
    )
    return records.Lineage(nodes, edges, pb.truncated)


def parent_to_pb(parent: records.Parent) -> edge_pb2.Parent:
    return edge_pb2.Parent(
        reference=parent.reference,
        kind=edge_kind_to_pb(parent.kind),
        job=parent.job,
        dataset=parent.dataset,
        code=parent.code,
    )


def edge_kind_to_pb(kind: str) -> "edge_pb2.EdgeKind.ValueType":
    """The kind of that name, in any case, with `-` or `_`; ValueError, naming them all, if there is none."""
    kinds = {name.removeprefix("EDGE_KIND_"): number for name, number in edge_pb2.EdgeKind.items() if number}
    name = kind.upper().replace("-", "_")
    if name not in kinds:
        raise ValueError(f"{kind!r} is not one of {', '.join(kinds)}")
    return kinds[name]


def _edge_kind(kind: "edge_pb2.EdgeKind.ValueType") -> str:
    return edge_pb2.EdgeKind.Name(kind).removeprefix("EDGE_KIND_")
