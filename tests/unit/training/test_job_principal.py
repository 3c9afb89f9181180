"""What a job may do with its principal, at real services that trust what a cluster trusts."""

from typing import Any

import grpc
import pytest
import pytest_asyncio

from modelzoo.errors import from_rpc_error
from support.artifact_server import Caller, refusal
from support.training_zoo import BASE, CONFIG, DATA, TrainingZoo
from zoo.artifact.v1 import upkeep_service_pb2 as upkeep_pb
from zoo.artifact.v1 import upkeep_service_pb2_grpc as upkeep_rpc
from zoo.catalog.v1 import catalog_service_pb2 as catalog_pb
from zoo.catalog.v1 import catalog_service_pb2_grpc as catalog_rpc
from zoo.catalog.v1 import model_pb2
from zoo.iam.v1 import iam_service_pb2 as iam_pb
from zoo.iam.v1 import iam_service_pb2_grpc as iam_rpc
from zoo.iam.v1 import key_pb2
from zoo_catalog.rules import CATALOG
from zoo_server.principal import METADATA_KEY
from zoo_training.job_principal import job_principal
from zoo_training.spec import Source


async def source(zoo: TrainingZoo, reference: str) -> Source:
    version = await zoo.catalog.version(reference)
    return Source(version.reference, version.manifest_digest)


async def token(zoo: TrainingZoo, base: str = BASE) -> str:
    """As the training service signs it."""
    principal = job_principal("job_1", "team/out", await source(zoo, base), await source(zoo, DATA))
    return zoo.training.sign(principal)


pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(loop_scope="module")
async def job(zoo: TrainingZoo) -> Caller:
    return zoo.caller_with(await token(zoo))


async def test_a_job_reads_its_base_and_its_dataset(zoo: TrainingZoo, job: Caller) -> None:
    base, data = await source(zoo, BASE), await source(zoo, DATA)
    assert await job.read(base.manifest_digest, "config.json", length=len(CONFIG), namespace="zoo") == CONFIG
    assert await job.get(data.manifest_digest, namespace="zoo")


async def test_a_job_pushes_where_its_output_is(job: Caller) -> None:
    digest = await job.push({"weights.bin": b"trained"}, namespace="team")
    assert await job.read(digest, "weights.bin", length=7, namespace="team") == b"trained"


async def test_a_job_reads_a_gated_base_for_which_its_creator_was_checked(zoo: TrainingZoo) -> None:
    await zoo.model("zoo/gated", gated=True)
    await zoo.publish("zoo/gated", {"config.json": CONFIG, "a": b"gated"})
    job = zoo.caller_with(await token(zoo, "zoo/gated"))
    assert await job.get((await source(zoo, "zoo/gated")).manifest_digest, namespace="zoo")


async def test_a_job_pushes_and_reads_nowhere_else(zoo: TrainingZoo, job: Caller) -> None:
    await zoo.namespace("secret")
    hidden = await zoo.push("secret", {"weights.bin": b"secret"})
    denied = ("PERMISSION_DENIED", "ROLE_MISSING")
    assert await refusal(job.get(hidden, namespace="secret")) == ("NOT_FOUND", "MANIFEST_NOT_FOUND")
    assert await refusal(job.push({"a": b"a"}, namespace="secret")) == denied
    assert await refusal(job.push({"a": b"a"}, namespace="zoo")) == denied
    assert await refusal(job.quarantine(hidden, namespace="team")) == denied
    assert await refusal(job.allow_opaque(namespace="team")) == denied


async def test_a_job_decides_nothing(zoo: TrainingZoo) -> None:
    metadata = ((METADATA_KEY, await token(zoo)),)
    async with grpc.aio.insecure_channel(zoo.addresses[CATALOG]) as channel:
        catalog, iam = catalog_rpc.CatalogServiceStub(channel), iam_rpc.IamServiceStub(channel)
        grant = key_pb2.Grant(subject="job:job_1", namespace="team", role=key_pb2.ROLE_ADMIN)
        calls: list[Any] = [
            catalog.CreateNamespace(
                catalog_pb.CreateNamespaceRequest(namespace=model_pb2.Namespace(name="mine")), metadata=metadata
            ),
            catalog.DeleteModel(catalog_pb.DeleteModelRequest(name=BASE), metadata=metadata),
            iam.CreateGrant(iam_pb.CreateGrantRequest(grant=grant), metadata=metadata),
            iam.CreateKey(iam_pb.CreateKeyRequest(key=key_pb2.Key(subject="job:job_1")), metadata=metadata),
        ]
        upkeep = upkeep_rpc.UpkeepServiceStub(zoo.channel)
        calls.append(upkeep.ConfirmPins(upkeep_pb.ConfirmPinsRequest(index_id="x"), metadata=metadata))
        for call in calls:
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await call
            assert from_rpc_error(caught.value).reason == "ROLE_MISSING"
