"""zoo.catalog.v1.LineageService."""

from typing import Any

import grpc

from modelzoo.errors import InvalidArgument
from zoo.catalog.v1 import edge_pb2, model_pb2
from zoo.catalog.v1 import lineage_service_pb2 as pb
from zoo.catalog.v1 import lineage_service_pb2_grpc as rpc
from zoo_catalog.edges import Edge, EdgeKind, Edges, Parent
from zoo_catalog.lineage import Direction, LineageReader, Link, Node
from zoo_catalog.times import time_to_pb
from zoo_server.call import current_principal

__all__ = ["LineageServicer", "parent_from_pb"]

Context = grpc.aio.ServicerContext[Any, Any]


class LineageServicer(rpc.LineageServiceServicer):
    def __init__(self, edges: Edges, reader: LineageReader) -> None:
        self._edges = edges
        self._reader = reader

    async def CreateEdge(self, request: pb.CreateEdgeRequest, context: Context) -> pb.CreateEdgeResponse:
        edge = await self._edges.create(request.edge.child, parent_of_edge_from_pb(request.edge), current_principal())
        return pb.CreateEdgeResponse(edge=edge_to_pb(edge))

    async def DeleteEdge(self, request: pb.DeleteEdgeRequest, context: Context) -> pb.DeleteEdgeResponse:
        await self._edges.delete(request.child, request.parent, kind_from_pb(request.kind), current_principal())
        return pb.DeleteEdgeResponse()

    async def GetLineage(self, request: pb.GetLineageRequest, context: Context) -> pb.GetLineageResponse:
        lineage = await self._reader.get(
            request.reference, _DIRECTIONS.get(request.direction, Direction.BOTH), request.depth, current_principal()
        )
        return pb.GetLineageResponse(
            nodes=map(node_to_pb, lineage.nodes), edges=map(link_to_pb, lineage.links), truncated=lineage.truncated
        )


_DIRECTIONS = {pb.LINEAGE_DIRECTION_UP: Direction.UP, pb.LINEAGE_DIRECTION_DOWN: Direction.DOWN}


def kind_from_pb(kind: edge_pb2.EdgeKind.ValueType) -> EdgeKind:
    try:
        return EdgeKind(edge_pb2.EdgeKind.Name(kind).removeprefix("EDGE_KIND_"))
    except ValueError as error:
        raise InvalidArgument(
            "FIELD_INVALID",
            "kind is no kind of edge: choose one of EDGE_KIND_FINE_TUNED to EDGE_KIND_DERIVED",
            field="kind",
            metadata={"field": "kind"},
        ) from error


def parent_from_pb(parent: edge_pb2.Parent) -> Parent:
    return Parent(parent.reference, kind_from_pb(parent.kind), parent.job, parent.dataset, parent.code)


def parent_of_edge_from_pb(edge: edge_pb2.Edge) -> Parent:
    return Parent(edge.parent, kind_from_pb(edge.kind), edge.job, edge.dataset, edge.code)


def edge_to_pb(edge: Edge) -> edge_pb2.Edge:
    return edge_pb2.Edge(
        child=edge.child,
        parent=edge.parent,
        kind=kind_to_pb(edge.kind),
        job=edge.job,
        dataset=edge.dataset,
        code=edge.code,
        create_time=time_to_pb(edge.create_time),
        actor=edge.actor,
    )


def kind_to_pb(kind: EdgeKind) -> edge_pb2.EdgeKind.ValueType:
    return edge_pb2.EdgeKind.Value(f"EDGE_KIND_{kind.name}")


def node_to_pb(node: Node) -> edge_pb2.LineageNode:
    if node.hidden:
        return edge_pb2.LineageNode(hidden=True)
    return edge_pb2.LineageNode(
        reference=node.reference,
        state=model_pb2.VersionState.Value(f"VERSION_STATE_{node.state.name}"),
        task=node.task,
        create_time=time_to_pb(node.create_time),
    )


def link_to_pb(link: Link) -> edge_pb2.LineageEdge:
    return edge_pb2.LineageEdge(
        child=link.child,
        parent=link.parent,
        kind=kind_to_pb(link.kind),
        job=link.job,
        dataset=link.dataset,
        code=link.code,
        create_time=time_to_pb(link.create_time),
        actor=link.actor,
    )
