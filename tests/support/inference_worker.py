"""A worker on a free port, in this process, whose models are local directories; and its caller."""

from collections.abc import AsyncGenerator, Generator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import grpc

from modelzoo.arriving import Arriving
from modelzoo.errors import NotFound, ZooError, from_rpc_error
from modelzoo.reference import parse
from zoo.inference.v1 import generation_pb2 as pb
from zoo.inference.v1 import inference_service_pb2 as service_pb
from zoo.inference.v1 import inference_service_pb2_grpc as rpc
from zoo_inference.catalog import Version
from zoo_inference.loader import Loader
from zoo_inference.rules import RULES, SERVICE
from zoo_inference.servicer import InferenceServicer
from zoo_inference.worker import Worker, WorkerLimits
from zoo_server.principal import METADATA_KEY, Principal, Role, Signer, TrustedKey, Verifier, create_signer
from zoo_server.server import build
from zoo_server.settings import ServerSettings

__all__ = ["Calls", "LocalModels", "WorkerRig", "inference_worker"]


@dataclass
class LocalModels:
    """A Catalog and a Source over directories, each model with one version. `facts` are what the catalog knows; `bases`
    has the models of adapters."""

    directories: Mapping[str, Path]
    facts: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    architectures: Mapping[str, str] = field(default_factory=dict)
    gated: set[str] = field(default_factory=set)
    granted: set[tuple[str, str]] = field(default_factory=set)
    bases: dict[str, str] = field(default_factory=dict)
    held: list[str] = field(default_factory=list)
    loads: list[str] = field(default_factory=list)

    async def version(self, reference: str) -> Version:
        model = parse(reference).model
        if model not in self.directories:
            raise NotFound("MODEL_NOT_FOUND", f"{model} does not exist")
        digest = f"{list(self.directories).index(model):064x}"
        architecture, facts = self.architectures.get(model, ""), self.facts.get(model, {})
        version = Version(f"{model}@1", digest, architecture, facts, gated=model in self.gated)
        return version if model not in self.bases else replace(version, base=await self.version(self.bases[model]))

    async def refusal(self, model: str, subject: str) -> str | None:
        return None if (model, subject) in self.granted else f"the model '{model}' is gated: request access"

    @contextmanager
    def hold(self, version: Version) -> Generator[Arriving]:
        model = version.reference.partition("@")[0]
        self.held.append(model)
        self.loads.append(model)
        try:
            yield Arriving(self.directories[model], lambda: self.directories[model])
        finally:
            self.held.remove(model)


class Calls:
    """Calls of a caller with the given roles; errors as ZooErrors."""

    def __init__(self, channel: grpc.aio.Channel, signer: Signer, roles: Mapping[str, Role]) -> None:
        self.stub = rpc.InferenceServiceStub(channel)
        self.metadata = ((METADATA_KEY, signer.sign(Principal("user:ada", dict(roles)))),)

    async def generate(self, model: str, **given: Any) -> service_pb.GenerateResponse:
        request = service_pb.GenerateRequest(model=model, input=pb.GenerationInput(**given))
        try:
            return await self.stub.Generate(request, metadata=self.metadata, timeout=60)
        except grpc.aio.AioRpcError as error:
            raise from_rpc_error(error) from error

    def stream(self, model: str, **given: Any) -> Any:
        """The call itself, to read from and to cancel."""
        request = service_pb.StreamGenerateRequest(model=model, input=pb.GenerationInput(**given))
        return self.stub.StreamGenerate(request, metadata=self.metadata, timeout=60)

    async def embed(self, model: str, *texts: str) -> service_pb.EmbedResponse:
        try:
            request = service_pb.EmbedRequest(model=model, texts=texts)
            return await self.stub.Embed(request, metadata=self.metadata, timeout=60)
        except grpc.aio.AioRpcError as error:
            raise from_rpc_error(error) from error

    async def ask(self, method: str, request: Any) -> Any:
        """The response of a unary method by its name."""
        try:
            return await getattr(self.stub, method)(request, metadata=self.metadata, timeout=60)
        except grpc.aio.AioRpcError as error:
            raise from_rpc_error(error) from error

    async def refusal(self, awaitable: Any) -> ZooError:
        """The error that the call ends with."""
        try:
            await awaitable
        except ZooError as error:
            return error
        raise AssertionError("it was not refused")


@dataclass
class WorkerRig:
    worker: Worker
    models: LocalModels
    port: int
    channel: grpc.aio.Channel
    signer: Signer

    def calls(self, **roles: Role) -> Calls:
        """A caller; by default an invoker in the namespace `acme`."""
        return Calls(self.channel, self.signer, roles or {"acme": Role.INVOKER})


@asynccontextmanager
async def inference_worker(
    models: LocalModels, *, queue: int = 64, memory_bytes: int = 1 << 30, batch_requests: int = 8
) -> AsyncGenerator[WorkerRig]:
    signer = create_signer("gateway")
    verifier = Verifier([TrustedKey("gateway", signer.public_key(), None)])
    loader = Loader(models, batch_requests, 64 << 20)
    worker = Worker(models, loader, WorkerLimits(queue, memory_bytes), "cpu")
    server = build(ServerSettings(trust=Path(), drain_s=1.0), RULES, verifier)
    rpc.add_InferenceServiceServicer_to_server(InferenceServicer(worker.inference), server.grpc)
    await server.start((SERVICE,))
    async with grpc.aio.insecure_channel(f"127.0.0.1:{server.port}") as channel:
        yield WorkerRig(worker, models, server.port, channel, signer)
    await server.drain()
    await worker.inference.close()
    await worker.residency.close()
    assert models.held == [], "files are still held after the worker has closed"
