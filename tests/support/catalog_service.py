"""The catalog on a free port, with tables in a folder and the artifact service's stand-in behind it."""

from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import grpc
import pytest

from modelzoo.errors import ZooError, from_rpc_error
from support.artifact_fake import ArtifactFake, running_artifact_fake
from support.tables import open_migrated
from zoo.catalog.v1 import access_service_pb2_grpc as access_rpc
from zoo.catalog.v1 import catalog_service_pb2 as pb
from zoo.catalog.v1 import catalog_service_pb2_grpc as catalog_rpc
from zoo.catalog.v1 import change_service_pb2_grpc as change_rpc
from zoo.catalog.v1 import lineage_service_pb2_grpc as lineage_rpc
from zoo.catalog.v1 import model_pb2
from zoo.catalog.v1 import signature_service_pb2_grpc as signature_rpc
from zoo.iam.v1 import iam_service_pb2_grpc as iam_rpc
from zoo_catalog.artifacts import Artifacts
from zoo_catalog.feed import ChangeFeed, open_feed
from zoo_catalog.main import MIGRATIONS, register
from zoo_catalog.purge import Purger
from zoo_catalog.rules import RULES, SERVICES
from zoo_catalog.watches import WATCHES_MOST, Watches
from zoo_server.peers import open_peer
from zoo_server.principal import Principal, Role, Signer, TrustedKey, Verifier, create_signer
from zoo_server.server import build
from zoo_server.settings import ServerSettings
from zoo_store.sql import Database

__all__ = ["Caller", "CatalogService", "Refusal", "refused", "running_catalog"]

ADMIN = {"*": Role.ADMIN}


class _As:
    """Signs as the gateway does for one caller."""

    def __init__(self, gateway: Signer, principal: Principal) -> None:
        self._gateway = gateway
        self._principal = principal

    def own_token(self) -> str:
        return self._gateway.sign(self._principal)


@dataclass
class Caller:
    """The services, as one principal sees them."""

    catalog: catalog_rpc.CatalogServiceStub
    changes: change_rpc.ChangeServiceStub
    lineage: lineage_rpc.LineageServiceStub
    iam: iam_rpc.IamServiceStub
    access: access_rpc.AccessServiceStub
    signatures: signature_rpc.SignatureServiceStub

    async def model(self, name: str, **fields: str) -> model_pb2.Model:
        request = pb.CreateModelRequest(model=model_pb2.Model(name=name), **fields)
        return (await self.catalog.CreateModel(request)).model

    async def publish(self, model: str, digest: str, **fields: str) -> model_pb2.Version:
        request = pb.CreateVersionRequest(model=model, manifest_digest=digest, **fields)
        return (await self.catalog.CreateVersion(request)).version

    async def get(self, reference: str) -> model_pb2.Version:
        return (await self.catalog.GetVersion(pb.GetVersionRequest(reference=reference))).version

    async def quarantine(self, reference: str, reason: str = "bad") -> list[model_pb2.Version]:
        request = pb.QuarantineVersionRequest(reference=reference, reason=reason)
        return list((await self.catalog.QuarantineVersion(request)).versions)

    async def release(self, reference: str) -> list[model_pb2.Version]:
        return list((await self.catalog.ReleaseVersion(pb.ReleaseVersionRequest(reference=reference))).versions)

    async def set_alias(self, model: str, name: str, targets: Mapping[int, int], etag: str = "") -> model_pb2.Alias:
        shares = [model_pb2.AliasTarget(version=number, weight=weight) for number, weight in targets.items()]
        alias = model_pb2.Alias(model=model, alias=name, targets=shares)
        return (await self.catalog.SetAlias(pb.SetAliasRequest(alias=alias, etag=etag))).alias


@dataclass
class CatalogService:
    """A running catalog; `admin` may do everything."""

    database: Database
    artifact: ArtifactFake
    feed: ChangeFeed
    purger: Purger
    address: str
    gateway: Signer
    stack: AsyncExitStack
    admin: Caller = field(init=False)

    async def caller(self, subject: str, roles: Mapping[str, Role]) -> Caller:
        signer = _As(self.gateway, Principal(subject, roles))
        channel = await self.stack.enter_async_context(open_peer(self.address, signer))  # type: ignore[arg-type]
        return Caller(
            catalog_rpc.CatalogServiceStub(channel),
            change_rpc.ChangeServiceStub(channel),
            lineage_rpc.LineageServiceStub(channel),
            iam_rpc.IamServiceStub(channel),
            access_rpc.AccessServiceStub(channel),
            signature_rpc.SignatureServiceStub(channel),
        )

    async def namespace(self, name: str) -> None:
        await self.admin.catalog.CreateNamespace(pb.CreateNamespaceRequest(namespace=model_pb2.Namespace(name=name)))

    async def published(self, model: str, count: int = 1) -> list[str]:
        """Make a model, and its namespace, with versions of different files; their manifests."""
        namespace = model.partition("/")[0]
        await self.namespace(namespace)
        await self.admin.model(model)
        digests = [self.artifact.put(namespace, {"weights.bin": f"{model} {n}".encode()}) for n in range(count)]
        for digest in digests:
            await self.admin.publish(model, digest)
        return digests


@asynccontextmanager
async def running_catalog(
    folder: Path, database_url: str = "", artifact: ArtifactFake | None = None, watches: int = WATCHES_MOST
) -> AsyncIterator[CatalogService]:
    """With tables in the folder, or where the URL says, and an artifact service of its own, or that one.

    A second one on the same tables, after the first has ended, goes on where that was.
    """
    gateway, own = create_signer("gateway"), create_signer("catalog")
    async with AsyncExitStack() as stack:
        artifact = artifact or await stack.enter_async_context(running_artifact_fake())
        url = database_url or f"sqlite:///{folder}/catalog.db"
        database = await stack.enter_async_context(open_migrated(url, MIGRATIONS))
        feed = await stack.enter_async_context(open_feed(database))
        channel = await stack.enter_async_context(open_peer(artifact.address, own))
        settings = ServerSettings(trust=folder / "unused", drain_s=5)
        server = build(settings, RULES, Verifier([TrustedKey("gateway", gateway.public_key(), None)]))
        artifacts = Artifacts(channel)
        register(server.grpc, database, artifacts, feed, Watches(watches))
        await server.start(SERVICES)
        stack.push_async_callback(server.drain)
        stack.push_async_callback(feed.close)
        address = f"127.0.0.1:{server.port}"
        service = CatalogService(database, artifact, feed, Purger(database, artifacts), address, gateway, stack)
        service.admin = await service.caller("admin", ADMIN)
        yield service


@dataclass
class Refusal:
    """The error that came, known once the block is left."""

    error: ZooError | None = None

    @property
    def metadata(self) -> dict[str, str]:
        assert self.error is not None
        return self.error.metadata

    @property
    def message(self) -> str:
        assert self.error is not None
        return self.error.message


@contextmanager
def refused(kind: type[ZooError], reason: str) -> Iterator[Refusal]:
    """The block ends with a status of this kind and reason, whose sentence says what to do."""
    refusal = Refusal()
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        yield refusal
    error = from_rpc_error(caught.value)
    assert (type(error), error.reason) == (kind, reason), error.message
    assert len(error.message) > 15
    refusal.error = error
