"""The calls about aliases."""

from collections.abc import Iterable, Iterator, Sequence

import grpc

from modelzoo import records, wire
from modelzoo.calls import building, paged, translated
from modelzoo.reference import Alias
from zoo.catalog.v1 import catalog_service_pb2 as pb
from zoo.catalog.v1 import catalog_service_pb2_grpc as rpc
from zoo.catalog.v1 import model_pb2

__all__ = ["AliasCalls"]


class AliasCalls:
    """What Client's methods of the same names do; a model is its name, not a reference."""

    def __init__(self, channel: grpc.Channel) -> None:
        self._catalog = rpc.CatalogServiceStub(channel)

    def get(self, model: str, alias: str) -> records.Alias:
        with translated():
            return wire.alias(self._catalog.GetAlias(pb.GetAliasRequest(model=model, alias=alias)).alias)

    def list(self, model: str) -> Iterator[records.Alias]:
        def fetch(token: str) -> tuple[Sequence[records.Alias], str]:
            page = self._catalog.ListAliases(pb.ListAliasesRequest(model=model, page_token=token))
            return [wire.alias(alias) for alias in page.aliases], page.next_page_token

        return paged(fetch)

    def set(
        self,
        model: str,
        alias: str,
        targets: int | Iterable[records.AliasTarget],
        etag: str,
        serving: records.Serving | None,
    ) -> records.Alias:
        if isinstance(targets, int):
            targets = [records.AliasTarget(targets, 1)]
        with building():
            moved = model_pb2.Alias(
                model=model,
                alias=Alias(alias).name,
                targets=[model_pb2.AliasTarget(version=target.version, weight=target.weight) for target in targets],
                serving=wire.serving_to_pb(serving),
            )
        with translated():
            return wire.alias(self._catalog.SetAlias(pb.SetAliasRequest(alias=moved, etag=etag)).alias)

    def delete(self, model: str, alias: str, etag: str) -> None:
        with translated():
            self._catalog.DeleteAlias(pb.DeleteAliasRequest(model=model, alias=alias, etag=etag))
