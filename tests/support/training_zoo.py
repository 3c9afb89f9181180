"""Real artifact and catalog services in this process, trusting what a cluster trusts, with a base and a dataset."""

import asyncio
import json
import sqlite3
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, closing
from dataclasses import dataclass, field
from pathlib import Path

import grpc

from modelzoo.manifest import Manifest
from modelzoo.tree import read_tree
from modelzoo.upload import upload
from support.artifact_server import Caller, cut, digest_of, manifest_of
from support.zoo_in_process import artifact_and_catalog
from zoo.catalog.v1 import access_service_pb2_grpc as access_rpc
from zoo.catalog.v1 import catalog_service_pb2 as catalog_pb
from zoo.catalog.v1 import catalog_service_pb2_grpc as catalog_rpc
from zoo.catalog.v1 import change_service_pb2_grpc as change_rpc
from zoo.catalog.v1 import lineage_service_pb2_grpc as lineage_rpc
from zoo.catalog.v1 import model_pb2
from zoo_artifact.rules import SERVICE as ARTIFACT
from zoo_catalog.rules import CATALOG
from zoo_server.behalf import Acting
from zoo_server.credentials import make_credentials
from zoo_server.peers import open_peer, open_sync_peer
from zoo_server.principal import METADATA_KEY, Principal, Role, Signer, Verifier
from zoo_store.blobs_memory import MemoryBlobStore
from zoo_training.artifacts import Artifacts
from zoo_training.catalog import Catalog
from zoo_training.parameters import checked_recipe
from zoo_training.recipe import Parameter, ParameterKind, Recipe, description_digest
from zoo_training.recipes import Trainer

__all__ = ["ADMIN", "BASE", "CLASSIFICATION", "DATA", "TRAINER", "TrainingZoo", "training_zoo"]

ADMIN = Principal("admin", {"*": Role.ADMIN})
BASE, DATA = "zoo/bert", "zoo/topics"
CONFIG = json.dumps({"architectures": ["BertForMaskedLM"], "model_type": "bert"}).encode()
ROWS = b"".join(json.dumps({"text": f"t{n}", "label": f"l{n % 2}"}).encode() + b"\n" for n in range(64))

CLASSIFICATION = Recipe(
    name="text-classification",
    description="Text classification",
    base_tasks=("fill-mask", "text-classification"),
    task="text-classification",
    parameters=(
        Parameter("learning_rate", ParameterKind.NUMBER, "Step size.", 5e-5, 0.0, 10.0, minimum_excluded=True),
        Parameter("batch_size", ParameterKind.INTEGER, "Examples a step.", 16, 1.0, 4096.0),
        Parameter("epochs", ParameterKind.NUMBER, "Times through the data.", 3.0, 0.0, 1000.0, minimum_excluded=True),
        Parameter("warmup", ParameterKind.NUMBER, "Share of the steps.", 0.1, 0.0, 1.0),
        Parameter("freeze", ParameterKind.BOOL, "Train the head alone.", False),
        Parameter("schedule", ParameterKind.CHOICE, "How the rate falls.", "linear", choices=("linear", "cosine")),
        Parameter("prefix", ParameterKind.STRING, "Before each text; the recipe decides where nothing is chosen."),
    ),
    columns=("text|sentence", "label"),
    metric="accuracy",
)
TRAINER = Trainer(
    "agent-1",
    "host-1",
    "cpu",
    (CLASSIFICATION.name,),
    ("process",),
    (description_digest(checked_recipe(CLASSIFICATION)),),
)


@dataclass
class TrainingZoo:
    """`catalog` and `artifacts` are the training service's own views; the stubs are the admin's."""

    addresses: Mapping[str, str]
    folder: Path
    gateway: Signer
    training: Signer
    verifier: Verifier
    catalog: Catalog
    artifacts: Artifacts
    stack: AsyncExitStack
    streams: grpc.Channel
    channel: grpc.aio.Channel
    admin: catalog_rpc.CatalogServiceStub = field(init=False)
    access: access_rpc.AccessServiceStub = field(init=False)
    lineage: lineage_rpc.LineageServiceStub = field(init=False)
    changes: change_rpc.ChangeServiceStub = field(init=False)

    def caller(self, principal: Principal = ADMIN) -> Caller:
        """The artifact service, as a principal that the gateway asserts sees it."""
        return self.caller_with(self.gateway.sign(principal))

    def caller_with(self, token: str) -> Caller:
        return Caller(self.channel, self.streams, token)

    def metadata(self, principal: Principal = ADMIN) -> tuple[tuple[str, str], ...]:
        return ((METADATA_KEY, self.gateway.sign(principal)),)

    def pins(self) -> set[tuple[str, str, str]]:
        """Namespace, manifest and holder of what the artifact service keeps for the training service."""
        with closing(sqlite3.connect(f"file:{self.folder}/artifact.db?mode=ro", uri=True)) as index:
            query = "SELECT namespace, digest, holder FROM pins WHERE subject = 'service:training'"
            return set(index.execute(query))

    def forget_pins(self) -> None:
        """As where the artifact service's index was lost."""
        with closing(sqlite3.connect(f"{self.folder}/artifact.db")) as index:
            index.execute("DELETE FROM pins")
            index.commit()

    async def namespace(self, name: str) -> None:
        await self.admin.CreateNamespace(catalog_pb.CreateNamespaceRequest(namespace=model_pb2.Namespace(name=name)))

    async def model(self, name: str, *, dataset: bool = False, gated: bool = False) -> None:
        kind = model_pb2.MODEL_KIND_DATASET if dataset else model_pb2.MODEL_KIND_MODEL
        model = model_pb2.Model(name=name, kind=kind, gated=gated)
        await self.admin.CreateModel(catalog_pb.CreateModelRequest(model=model))

    async def push(self, namespace: str, files: Mapping[str, bytes], format: str = "transformers") -> str:
        """Make the files visible in the namespace; their manifest's digest."""
        caller = self.caller()
        wanted = {digest_of(data): data for content in files.values() for data in cut(content)}
        missing = await caller.find_missing(wanted, namespace)
        await caller.write(*(wanted[digest] for digest in missing), namespace=namespace)
        manifest: Manifest = manifest_of(files, format)
        return await caller.put(manifest, namespace)

    async def publish(self, model: str, files: Mapping[str, bytes], format: str = "transformers") -> model_pb2.Version:
        digest = await self.push(model.partition("/")[0], files, format)
        request = catalog_pb.CreateVersionRequest(model=model, manifest_digest=digest)
        return (await self.admin.CreateVersion(request)).version

    async def publish_folder(self, model: str, folder: Path, format: str = "transformers") -> model_pb2.Version:
        """As people do it: tensors become blobs of their own."""

        def push() -> str:
            with open_sync_peer(self.addresses[ARTIFACT], _As(self.gateway)) as channel:  # type: ignore[arg-type]
                return upload(channel, read_tree(folder), model.partition("/")[0], format=format).digest

        await self.model(model, dataset=format == "dataset")
        digest = await asyncio.to_thread(push)
        request = catalog_pb.CreateVersionRequest(model=model, manifest_digest=digest)
        return (await self.admin.CreateVersion(request)).version

    async def publish_dataset(self, model: str, files: Mapping[str, bytes]) -> model_pb2.Version:
        await self.model(model, dataset=True)
        return await self.publish(model, files, "dataset")


@asynccontextmanager
async def training_zoo(folder: Path) -> AsyncIterator[TrainingZoo]:
    """With the namespaces `zoo` and `team`, the base BASE and the dataset DATA, each of one version."""
    secrets = folder / "secrets"
    secrets.mkdir()
    credentials = make_credentials(secrets)
    signers = {name: Signer.load(path) for name, path in credentials.identities.items()}
    verifier = Verifier.load(credentials.trust)
    async with AsyncExitStack() as stack:
        services = artifact_and_catalog(folder, verifier, signers["catalog"], MemoryBlobStore())
        addresses = await stack.enter_async_context(services)
        catalog = await stack.enter_async_context(open_peer(addresses[CATALOG], Acting(signers["training"])))
        artifact = await stack.enter_async_context(open_peer(addresses[ARTIFACT], signers["training"]))
        plain = await stack.enter_async_context(grpc.aio.insecure_channel(addresses[ARTIFACT]))
        streams = stack.enter_context(grpc.insecure_channel(addresses[ARTIFACT]))
        zoo = TrainingZoo(
            addresses,
            folder,
            signers["gateway"],
            signers["training"],
            verifier,
            Catalog(catalog),
            Artifacts(artifact),
            stack,
            streams,
            plain,
        )
        own = await stack.enter_async_context(open_peer(addresses[CATALOG], _As(zoo.gateway)))  # type: ignore[arg-type]
        zoo.admin = catalog_rpc.CatalogServiceStub(own)
        zoo.access = access_rpc.AccessServiceStub(own)
        zoo.lineage = lineage_rpc.LineageServiceStub(own)
        zoo.changes = change_rpc.ChangeServiceStub(own)
        await zoo.namespace("zoo")
        await zoo.namespace("team")
        await zoo.model(BASE)
        await zoo.publish(BASE, {"config.json": CONFIG, "weights.bin": b"weights"})
        await zoo.publish_dataset(DATA, {"train.jsonl": ROWS})
        yield zoo


class _As:
    """Signs as the gateway does for the admin."""

    def __init__(self, gateway: Signer) -> None:
        self._gateway = gateway

    def own_token(self) -> str:
        return self._gateway.sign(ADMIN)
