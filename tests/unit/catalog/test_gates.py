"""Gated models: who sees what, who asks, who decides."""

import pytest

from modelzoo.errors import Aborted, FailedPrecondition, InvalidArgument, NotFound, PermissionDenied
from support.catalog_service import Caller, CatalogService, refused
from zoo.catalog.v1 import access_request_pb2
from zoo.catalog.v1 import access_service_pb2 as pb
from zoo.catalog.v1 import catalog_service_pb2 as catalog_pb
from zoo_server.principal import Role

PENDING, APPROVED, DENIED, REVOKED = range(1, 5)


@pytest.fixture
async def ada(zoo: CatalogService) -> Caller:
    """An invoker of a namespace with the gated model team/bert."""
    await zoo.published("team/bert")
    request = catalog_pb.UpdateModelRequest(model={"name": "team/bert", "gated": True})
    await zoo.admin.catalog.UpdateModel(request)
    return await zoo.caller("user:ada", {"team": Role.INVOKER})


async def ask(caller: Caller, reason: str = "") -> access_request_pb2.AccessRequest:
    response = await caller.access.RequestAccess(pb.RequestAccessRequest(model="team/bert", reason=reason))
    return response.access_request


async def decide(zoo: CatalogService, decision: int, etag: str = "") -> access_request_pb2.AccessRequest:
    publisher = await zoo.caller("user:pia", {"team": Role.PUBLISHER})
    request = pb.DecideAccessRequest(model="team/bert", subject="user:ada", decision=decision, reason="so", etag=etag)  # type: ignore[arg-type]
    return (await publisher.access.DecideAccess(request)).access_request


async def listed(caller: Caller, **fields: object) -> list[str]:
    response = await caller.access.ListAccessRequests(pb.ListAccessRequestsRequest(**fields))  # type: ignore[arg-type]
    return [f"{request.model} {request.subject}" for request in response.access_requests]


async def test_without_access_the_model_is_seen_and_its_files_are_not_found(zoo: CatalogService, ada: Caller) -> None:
    assert (await ada.catalog.GetModel(catalog_pb.GetModelRequest(name="team/bert"))).model.gated
    digest = (await zoo.admin.get("team/bert")).manifest_digest
    for suffix in ("", "@1", f"@sha256:{digest}"):
        with refused(PermissionDenied, "ACCESS_NOT_GRANTED") as refusal:
            await ada.get(f"team/bert{suffix}")
        assert refusal.metadata == {"model": "team/bert"}
    [version] = (await ada.catalog.ListVersions(catalog_pb.ListVersionsRequest(model="team/bert"))).versions
    assert (version.version, version.manifest_digest) == (1, "")


async def test_an_approved_subject_and_publishers_get_the_files(zoo: CatalogService, ada: Caller) -> None:
    asked = await ask(ada, "for the demo")
    assert (asked.state, asked.reason, asked.subject) == (PENDING, "for the demo", "user:ada")
    with refused(PermissionDenied, "ACCESS_NOT_GRANTED"):
        await ada.get("team/bert")
    decided = await decide(zoo, APPROVED)
    assert (decided.state, decided.decider, decided.decision_reason) == (APPROVED, "user:pia", "so")
    assert await ada.get("team/bert") == await zoo.admin.get("team/bert")
    [version] = (await ada.catalog.ListVersions(catalog_pb.ListVersionsRequest(model="team/bert"))).versions
    assert version.manifest_digest
    other = await zoo.caller("user:eve", {"team": Role.INVOKER})
    with refused(PermissionDenied, "ACCESS_NOT_GRANTED"):
        await other.get("team/bert")
    assert (await decide(zoo, REVOKED)).state == REVOKED
    with refused(PermissionDenied, "ACCESS_NOT_GRANTED"):
        await ada.get("team/bert")


async def test_the_refusal_says_how_the_callers_own_request_stands(zoo: CatalogService, ada: Caller) -> None:
    await ask(ada)
    eve = await zoo.caller("user:eve", {"team": Role.INVOKER})
    for decision, state, word in ((0, "PENDING", "waits"), (DENIED, "DENIED", "denied (so)"), (APPROVED, "", "")):
        if decision:
            await decide(zoo, decision)
        if state:
            await refused_with(ada, {"model": "team/bert", "state": state}, word)
        await refused_with(eve, {"model": "team/bert"}, "request access")
    await decide(zoo, REVOKED)
    await refused_with(ada, {"model": "team/bert", "state": "REVOKED"}, "revoked (so) and is over")


async def refused_with(caller: Caller, metadata: dict[str, str], word: str) -> None:
    with refused(PermissionDenied, "ACCESS_NOT_GRANTED") as refusal:
        await caller.get("team/bert")
    assert refusal.metadata == metadata
    assert word in refusal.message


async def test_asking_again_reopens_what_was_refused_and_nothing_else(zoo: CatalogService, ada: Caller) -> None:
    first = await ask(ada, "first")
    assert await ask(ada, "second") == first
    await decide(zoo, DENIED)
    assert (await ask(ada, "third")).state == PENDING
    await decide(zoo, APPROVED)
    assert (await ask(ada, "fourth")).state == APPROVED


async def test_decisions_that_make_no_sense_are_refused(zoo: CatalogService, ada: Caller) -> None:
    with refused(NotFound, "ACCESS_REQUEST_NOT_FOUND"):
        await decide(zoo, APPROVED)
    etag = (await ask(ada)).etag
    with refused(FailedPrecondition, "ACCESS_STATE_INVALID"):
        await decide(zoo, REVOKED)
    with refused(InvalidArgument, "FIELD_INVALID"):
        await decide(zoo, PENDING)
    await decide(zoo, DENIED, etag)
    with refused(Aborted, "ETAG_MISMATCH"):
        await decide(zoo, APPROVED, etag)
    with refused(PermissionDenied, "ROLE_MISSING"):
        request = pb.DecideAccessRequest(model="team/bert", subject="user:ada", decision=APPROVED)  # type: ignore[arg-type]
        await ada.access.DecideAccess(request)


async def test_everybody_lists_their_own_and_publishers_those_of_their_namespaces(
    zoo: CatalogService, ada: Caller
) -> None:
    eve = await zoo.caller("user:eve", {"team": Role.VIEWER})
    await ask(ada)
    await ask(eve)
    assert await listed(ada) == ["team/bert user:ada"]
    publisher = await zoo.caller("user:pia", {"TEAM": Role.PUBLISHER})
    assert await listed(publisher) == ["team/bert user:ada", "team/bert user:eve"]
    assert await listed(await zoo.caller("user:max", {"other": Role.ADMIN})) == []
    await decide(zoo, DENIED)
    assert await listed(publisher, state=PENDING) == ["team/bert user:eve"]
    page = await publisher.access.ListAccessRequests(pb.ListAccessRequestsRequest(page_size=1, model="team/bert"))
    assert await listed(publisher, model="team/bert", page_token=page.next_page_token) == ["team/bert user:eve"]


async def test_what_is_not_gated_needs_no_request(zoo: CatalogService, ada: Caller) -> None:
    await zoo.admin.model("team/free")
    with refused(FailedPrecondition, "MODEL_NOT_GATED"):
        await ada.access.RequestAccess(pb.RequestAccessRequest(model="team/free"))


async def test_services_resolve_for_others_and_can_ask_for_whom(zoo: CatalogService, ada: Caller) -> None:
    worker = await zoo.caller("service:worker", {"*": Role.VIEWER})
    assert (await worker.get("team/bert")).gated
    check = pb.CheckAccessRequest(model="team/bert", subject="user:ada")
    assert "request access" in (await worker.access.CheckAccess(check)).refusal
    await ask(ada)
    waiting = await worker.access.CheckAccess(check)
    assert not waiting.granted
    assert "your request waits" in waiting.refusal
    await decide(zoo, APPROVED)
    assert (await worker.access.CheckAccess(check)).granted
    # Neither a service's name without its role nor the role without the name opens the gate.
    for subject, roles in (("service:mine", {"team": Role.INVOKER}), ("auditor", {"*": Role.VIEWER})):
        with refused(PermissionDenied, "ACCESS_NOT_GRANTED"):
            await (await zoo.caller(subject, roles)).get("team/bert")
