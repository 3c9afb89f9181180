"""A gated model, from the catalog's decision to a worker's answer: both real, each on its port."""

from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from modelzoo.arriving import Arriving
from support.catalog_service import CatalogService, running_catalog
from support.inference_worker import LocalModels, inference_worker
from support.tiny_models import tiny_sentence_encoder
from support.waiting import eventually
from zoo.catalog.v1 import access_service_pb2 as access_pb
from zoo.catalog.v1 import catalog_service_pb2 as catalog_pb
from zoo_inference.catalog import GrpcCatalog, Version
from zoo_server.peers import open_peer
from zoo_server.principal import Principal, Role

APPROVED, REVOKED = 2, 4


class ServedFromCatalog(LocalModels):
    """References mean what the catalog service says; the files are local."""

    def __init__(self, directory: Path, catalog: GrpcCatalog) -> None:
        super().__init__({"acme/gated": directory})
        self._catalog = catalog

    async def version(self, reference: str) -> Version:
        return await self._catalog.version(reference)

    async def refusal(self, model: str, subject: str) -> str | None:
        return await self._catalog.refusal(model, subject)

    @contextmanager
    def hold(self, version: Version) -> Generator[Arriving]:
        directory = self.directories["acme/gated"]
        yield Arriving(directory, lambda: directory)


class AsWorker:
    def __init__(self, zoo: CatalogService) -> None:
        self._zoo = zoo

    def own_token(self) -> str:
        return self._zoo.gateway.sign(Principal("service:worker", {"*": Role.VIEWER}))


async def decide(zoo: CatalogService, decision: int) -> None:
    request = access_pb.DecideAccessRequest(model="acme/gated", subject="user:ada", decision=decision)  # type: ignore[arg-type]
    await zoo.admin.access.DecideAccess(request)


async def test_a_gated_model_runs_for_whom_it_was_approved_and_only_for_so_long(tmp_path: Path) -> None:
    directory = tiny_sentence_encoder(tmp_path / "model")
    async with running_catalog(tmp_path) as zoo:
        await zoo.published("acme/gated")
        await zoo.admin.catalog.UpdateModel(catalog_pb.UpdateModelRequest(model={"name": "acme/gated", "gated": True}))
        channel = await zoo.stack.enter_async_context(open_peer(zoo.address, AsWorker(zoo)))  # type: ignore[arg-type]
        async with inference_worker(ServedFromCatalog(directory, GrpcCatalog(channel))) as rig:
            ada, publisher = rig.calls(acme=Role.INVOKER), rig.calls(acme=Role.PUBLISHER)
            for reference in ("acme/gated", "acme/gated@1"):
                refusal = await ada.refusal(ada.embed(reference, "hello"))
                assert refusal.reason == "ACCESS_NOT_GRANTED"
            assert rig.worker.residency.residents == []  # refused before anything is loaded
            assert (await publisher.embed("acme/gated", "hello")).reference == "acme/gated@1"
            caller = await zoo.caller("user:ada", {"acme": Role.INVOKER})
            await caller.access.RequestAccess(access_pb.RequestAccessRequest(model="acme/gated"))
            await decide(zoo, APPROVED)

            async def runs() -> bool:
                return (await ada.embed("acme/gated@1", "hello")).reference == "acme/gated@1"

            await eventually(runs)
            await decide(zoo, REVOKED)

            async def is_refused() -> bool:
                return (await ada.refusal(ada.embed("acme/gated@1", "hello"))).reason == "ACCESS_NOT_GRANTED"

            await eventually(is_refused)
