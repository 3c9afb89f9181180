"""Usage: logical and physical bytes by namespace, and what deleting one would free; who may ask."""

import grpc
import pytest

from modelzoo.errors import from_rpc_error
from support.artifact_server import ArtifactServer
from support.upkeep import age, swept
from zoo.artifact.v1 import upkeep_service_pb2 as pb
from zoo.artifact.v1 import upkeep_service_pb2_grpc as rpc
from zoo_artifact.rules import UPKEEP, UPKEEP_RULES
from zoo_artifact.usage import NamespaceUsage, StoreUsage
from zoo_server.principal import METADATA_KEY, Principal, Role

BOTH = {"team": Role.PUBLISHER, "other": Role.PUBLISHER}


async def test_blobs_are_counted_once_and_shared_ones_free_nothing(server: ArtifactServer) -> None:
    caller = server.caller(BOTH)
    await caller.push({"a": b"shared", "b": b"shared", "c": b"alone"})
    await caller.push({"a": b"shared"})
    await caller.push({"a": b"shared"}, namespace="Other")
    await caller.write(b"never put")
    assert await server.upkeep.usages.of_namespaces() == [
        NamespaceUsage("other", 1, 6, 1, 6, 0),
        NamespaceUsage("team", 2, 23, 2, 11, 5),
    ]
    assert await server.upkeep.usages.of_store() == StoreUsage(2, 29, 3, 20, 9)


async def test_deleting_a_namespace_frees_what_usage_promised(server: ArtifactServer) -> None:
    caller = server.caller(BOTH)
    await caller.push({"a": b"shared", "c": b"alone"})
    kept = await caller.push({"a": b"shared"}, namespace="other")
    promised = (await server.upkeep.usages.of_namespaces("team"))[0].exclusive_bytes
    await age(server.database)
    await caller.put(await caller.get(kept, "other"), namespace="other")
    assert (await swept(server.upkeep)).counts.deleted_bytes == promised == 5


async def test_a_namespace_without_anything_uses_nothing(server: ArtifactServer) -> None:
    assert await server.upkeep.usages.of_namespaces("empty") == [NamespaceUsage("empty", 0, 0, 0, 0, 0)]


REQUESTS: dict[str, object] = {
    "Sweep": pb.SweepRequest(dry_run=True),
    "SetSweeping": pb.SetSweepingRequest(),
    "GetSweeping": pb.GetSweepingRequest(),
    "GetUsage": pb.GetUsageRequest(),
    "Check": pb.CheckRequest(),
    "RebuildIndex": pb.RebuildIndexRequest(),
    "ConfirmPins": pb.ConfirmPinsRequest(index_id="x"),
}


def test_every_method_is_tried() -> None:
    assert {f"/{UPKEEP}/{method}" for method in REQUESTS} == set(UPKEEP_RULES)


async def answer(server: ArtifactServer, method: str, request: object, roles: dict[str, Role]) -> str:
    token = server.signer.sign(Principal("user:x", roles))
    call = getattr(rpc.UpkeepServiceStub(server.channel), method)(request, metadata=((METADATA_KEY, token),))
    try:
        if hasattr(call, "__aiter__"):
            async for _ in call:
                pass
        else:
            await call
    except grpc.aio.AioRpcError as error:
        return from_rpc_error(error).reason
    return ""


@pytest.mark.parametrize("method", REQUESTS)
@pytest.mark.parametrize("roles", [{}, {"team": Role.ADMIN}])
async def test_upkeep_is_of_the_cluster(server: ArtifactServer, method: str, roles: dict[str, Role]) -> None:
    assert await answer(server, method, REQUESTS[method], roles) == "ROLE_MISSING"


async def test_a_viewer_sees_the_usage_of_its_namespace_and_of_no_other(server: ArtifactServer) -> None:
    viewer = {"team": Role.VIEWER}
    assert await answer(server, "GetUsage", pb.GetUsageRequest(namespace="team"), viewer) == ""
    assert await answer(server, "GetUsage", pb.GetUsageRequest(namespace="other"), viewer) == "NAMESPACE_NOT_FOUND"
