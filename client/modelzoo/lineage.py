"""Which version was made from which: the part of the client for lineage."""

from typing import Literal

import grpc

from modelzoo import history_wire, records
from modelzoo.calls import building, translated
from modelzoo.reference import parse
from zoo.catalog.v1 import edge_pb2
from zoo.catalog.v1 import lineage_service_pb2 as pb
from zoo.catalog.v1 import lineage_service_pb2_grpc as rpc

__all__ = ["Direction", "Lineages"]

Direction = Literal["up", "down", "both"]

_DIRECTIONS: dict[Direction, "pb.LineageDirection.ValueType"] = {
    "up": pb.LINEAGE_DIRECTION_UP,
    "down": pb.LINEAGE_DIRECTION_DOWN,
    "both": pb.LINEAGE_DIRECTION_BOTH,
}


class Lineages:
    """Says and reads what versions were made from. References are as everywhere; one that can move means the version
    that it means now."""

    def __init__(self, channel: grpc.Channel) -> None:
        self._stub = rpc.LineageServiceStub(channel)

    def get(self, ref: str, *, direction: Direction = "both", depth: int = 0) -> records.Lineage:
        """What the version was made from (up), what was made from it (down), or both, over at most `depth` steps (0:
        16, the most there are). Of parents that the caller may not see it only says that they are."""
        with building():
            request = pb.GetLineageRequest(reference=str(parse(ref)), direction=_DIRECTIONS[direction], depth=depth)
        with translated():
            return history_wire.lineage(self._stub.GetLineage(request))

    def create_edge(self, child: str, parent: records.Parent) -> records.Edge:
        """Say that the child was made from the parent; saying it again changes nothing. LINEAGE_CYCLE where the parent
        was made from the child."""
        with building():
            edge = edge_pb2.Edge(
                child=str(parse(child)),
                parent=str(parse(parent.reference)),
                kind=history_wire.edge_kind_to_pb(parent.kind),
                job=parent.job,
                dataset=parent.dataset,
                code=parent.code,
            )
        with translated():
            return history_wire.edge(self._stub.CreateEdge(pb.CreateEdgeRequest(edge=edge)).edge)

    def delete_edge(self, child: str, parent: str, kind: str) -> None:
        """Take back that the child was made from the parent in this way."""
        with building():
            request = pb.DeleteEdgeRequest(
                child=str(parse(child)), parent=str(parse(parent)), kind=history_wire.edge_kind_to_pb(kind)
            )
        with translated():
            self._stub.DeleteEdge(request)
