"""The real worker process, with real catalog, artifact service and Redis around it."""

import asyncio
import socket
import sys
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import grpc

from modelzoo.pull import get_manifest
from modelzoo.signing.bundle import sha256_of, sign
from modelzoo.signing.keys import SigningKey, new_key
from modelzoo.tree import read_tree
from modelzoo.upload import upload
from support.inference_worker import Calls
from support.servers import ServerProcess
from support.waiting import eventually
from support.zoo_in_process import artifact_and_catalog
from zoo.catalog.v1 import catalog_service_pb2 as pb
from zoo.catalog.v1 import catalog_service_pb2_grpc as rpc
from zoo.catalog.v1 import model_pb2
from zoo.catalog.v1 import signature_service_pb2 as signature_pb
from zoo.catalog.v1 import signature_service_pb2_grpc as signature_rpc
from zoo.catalog.v1.signature_pb2 import TrustedSigner
from zoo_artifact.rules import SERVICE as ARTIFACT
from zoo_catalog.rules import CATALOG
from zoo_server.peers import open_peer, open_sync_peer
from zoo_server.principal import Principal, Role, Signer, TrustedKey, Verifier, create_signer, save_trust
from zoo_store.blobs_memory import MemoryBlobStore
from zoo_store.presence import Presence, WorkerPresence, open_presence

__all__ = ["WorkerProcess", "worker_process"]


@dataclass
class WorkerProcess:
    """`process` serves at `channel`; `admin` may publish, the gateway's signer speaks for callers."""

    process: ServerProcess
    channel: grpc.aio.Channel
    presence: Presence
    artifact: str
    catalog: str
    admin: Signer
    gateway: Signer

    def calls(self) -> Calls:
        return Calls(self.channel, self.gateway, {"acme": Role.INVOKER})

    async def publish(self, model: str, directory: Path) -> model_pb2.Version:
        """Push the directory as the model's next version, the namespace and model made if need be."""
        namespace = model.partition("/")[0]
        async with open_peer(self.catalog, self.admin) as channel:
            catalog = rpc.CatalogServiceStub(channel)
            await catalog.CreateNamespace(pb.CreateNamespaceRequest(namespace=model_pb2.Namespace(name=namespace)))
            await catalog.CreateModel(pb.CreateModelRequest(model=model_pb2.Model(name=model)))
            digest = await asyncio.to_thread(self._upload, namespace, directory)
            request = pb.CreateVersionRequest(model=model, manifest_digest=digest)
            return (await catalog.CreateVersion(request)).version

    async def sign(self, version: model_pb2.Version) -> None:
        """Require signatures in the version's namespace by a new key, and sign the version with it."""
        namespace, reference, key = version.model.partition("/")[0], f"{version.model}@{version.version}", new_key()
        with open_sync_peer(self.artifact, self.admin) as channel:
            manifest = await asyncio.to_thread(get_manifest, channel, namespace, version.manifest_digest)
        async with open_peer(self.catalog, self.admin) as channel:
            request = signature_pb.AddSignatureRequest(
                reference=reference,
                bundle=sign(reference, sha256_of(manifest), key),
                public_key=key.public_key.pem,
            )
            await signature_rpc.SignatureServiceStub(channel).AddSignature(request)
        await self.trust(namespace, key)

    async def trust(self, namespace: str, key: SigningKey) -> None:
        """The namespace requires signatures by this key, and no other."""
        signer = TrustedSigner(name="release", public_key=key.public_key.pem)
        request = signature_pb.SetTrustedSignersRequest(namespace=namespace, signers=[signer], require_signatures=True)
        async with open_peer(self.catalog, self.admin) as channel:
            await signature_rpc.SignatureServiceStub(channel).SetTrustedSigners(request)

    async def quarantine(self, reference: str) -> None:
        async with open_peer(self.catalog, self.admin) as channel:
            request = pb.QuarantineVersionRequest(reference=reference, reason="a test")
            await rpc.CatalogServiceStub(channel).QuarantineVersion(request)

    def _upload(self, namespace: str, directory: Path) -> str:
        with open_sync_peer(self.artifact, self.admin) as channel:
            return upload(channel, read_tree(directory), namespace, format="transformers").digest

    async def announced(self) -> WorkerPresence | None:
        return next(iter(await self.presence.workers()), None)


@asynccontextmanager
async def worker_process(folder: Path, redis_url: str) -> AsyncGenerator[WorkerProcess]:
    gateway, admin, catalog, worker = (create_signer(kid) for kid in ("gateway", "admin", "catalog", "worker"))
    trusted = [
        TrustedKey("gateway", gateway.public_key(), None),
        TrustedKey("admin", admin.public_key(), Principal("admin", {"*": Role.ADMIN})),
        TrustedKey("catalog", catalog.public_key(), Principal("service:catalog", {"*": Role.ADMIN})),
        TrustedKey("worker", worker.public_key(), Principal("service:worker", {"*": Role.VIEWER})),
    ]
    save_trust(folder / "trust.json", trusted)
    worker.save(folder / "worker.json")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    async with AsyncExitStack() as stack:
        services = artifact_and_catalog(folder, Verifier(trusted), catalog, MemoryBlobStore())
        addresses = await stack.enter_async_context(services)
        presence = await stack.enter_async_context(open_presence(redis_url))
        environment = {
            "ZOO_LISTEN": f"127.0.0.1:{port}",
            "ZOO_TRUST": str(folder / "trust.json"),
            "ZOO_IDENTITY": str(folder / "worker.json"),
            "ZOO_ARTIFACT": addresses[ARTIFACT],
            "ZOO_CATALOG": addresses[CATALOG],
            "ZOO_REDIS_URL": redis_url,
            "ZOO_CACHE_DIR": str(folder / "cache"),
            "ZOO_MEMORY_BYTES": str(1 << 30),
        }
        process = ServerProcess([sys.executable, "-m", "zoo_inference.main"], folder / "worker.log", environment)
        stack.callback(process.kill)
        channel = await stack.enter_async_context(grpc.aio.insecure_channel(f"127.0.0.1:{port}"))
        rig = WorkerProcess(process, channel, presence, addresses[ARTIFACT], addresses[CATALOG], admin, gateway)
        await eventually(rig.announced, within_s=60)
        yield rig
