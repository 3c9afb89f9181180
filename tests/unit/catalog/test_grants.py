"""Grants: roles of subjects, replaced and taken away, and the last admin that stays."""

import pytest

from modelzoo.errors import FailedPrecondition, InvalidArgument, NotFound, PermissionDenied
from support.catalog_service import CatalogService, refused
from zoo.iam.v1 import iam_service_pb2 as pb
from zoo.iam.v1 import key_pb2
from zoo_server.principal import Role


def grant(subject: str, namespace: str, role: int) -> pb.CreateGrantRequest:
    return pb.CreateGrantRequest(grant=key_pb2.Grant(subject=subject, namespace=namespace, role=role))  # type: ignore[arg-type]


def revoke(subject: str, namespace: str) -> pb.RevokeGrantRequest:
    return pb.RevokeGrantRequest(subject=subject, namespace=namespace)


async def roles(zoo: CatalogService, namespace: str) -> dict[str, Role]:
    grants = (await zoo.admin.iam.ListGrants(pb.ListGrantsRequest(namespace=namespace))).grants
    return {held.subject: Role(held.role) for held in grants}


async def test_a_grant_takes_the_place_of_the_one_before(zoo: CatalogService) -> None:
    await zoo.namespace("Team")
    await zoo.admin.iam.CreateGrant(grant("app", "team", Role.VIEWER))
    given = (await zoo.admin.iam.CreateGrant(grant("app", "TEAM", Role.INVOKER))).grant
    assert (given.namespace, given.role) == ("Team", Role.INVOKER)
    assert await roles(zoo, "team") == {"admin": Role.ADMIN, "app": Role.INVOKER}


async def test_giving_the_same_grant_again_changes_nothing(zoo: CatalogService) -> None:
    await zoo.namespace("team")
    first = await zoo.admin.iam.CreateGrant(grant("app", "team", Role.VIEWER))
    assert await zoo.admin.iam.CreateGrant(grant("app", "team", Role.VIEWER)) == first


async def test_a_revoked_grant_is_gone(zoo: CatalogService) -> None:
    await zoo.namespace("team")
    await zoo.admin.iam.CreateGrant(grant("app", "team", Role.VIEWER))
    await zoo.admin.iam.RevokeGrant(revoke("app", "Team"))
    assert await roles(zoo, "team") == {"admin": Role.ADMIN}
    with refused(NotFound, "GRANT_NOT_FOUND"):
        await zoo.admin.iam.RevokeGrant(revoke("app", "team"))


async def test_an_unknown_namespace_has_no_grants(zoo: CatalogService) -> None:
    with refused(NotFound, "NAMESPACE_NOT_FOUND"):
        await zoo.admin.iam.CreateGrant(grant("app", "nowhere", Role.VIEWER))
    with refused(NotFound, "NAMESPACE_NOT_FOUND"):
        await zoo.admin.iam.ListGrants(pb.ListGrantsRequest(namespace="nowhere"))


@pytest.mark.parametrize("role", [0, 6, -1])
async def test_a_role_that_is_none_is_refused(zoo: CatalogService, role: int) -> None:
    await zoo.namespace("team")
    with refused(InvalidArgument, "FIELD_INVALID"):
        await zoo.admin.iam.CreateGrant(grant("app", "team", role))


async def test_the_last_admin_of_the_cluster_stays(zoo: CatalogService) -> None:
    await zoo.admin.iam.CreateGrant(grant("root", "*", Role.ADMIN))
    await zoo.admin.iam.CreateGrant(grant("app", "*", Role.TRAINER))
    for attempt in (
        zoo.admin.iam.RevokeGrant(revoke("root", "*")),
        zoo.admin.iam.CreateGrant(grant("root", "*", Role.VIEWER)),
    ):
        with refused(FailedPrecondition, "LAST_ADMIN"):
            await attempt
    await zoo.admin.iam.CreateGrant(grant("second", "*", Role.ADMIN))
    await zoo.admin.iam.RevokeGrant(revoke("root", "*"))
    assert await roles(zoo, "*") == {"app": Role.TRAINER, "second": Role.ADMIN}


async def test_a_namespaces_admin_grants_there_and_nowhere_else(zoo: CatalogService) -> None:
    for name in ("team", "other"):
        await zoo.namespace(name)
    lead = await zoo.caller("lead", {"team": Role.ADMIN, "other": Role.TRAINER})
    await lead.iam.CreateGrant(grant("app", "team", Role.INVOKER))
    for attempt in (
        lead.iam.CreateGrant(grant("app", "other", Role.INVOKER)),
        lead.iam.ListGrants(pb.ListGrantsRequest(namespace="other")),
        lead.iam.RevokeGrant(revoke("admin", "other")),
    ):
        with refused(PermissionDenied, "ROLE_MISSING"):
            await attempt
    with refused(NotFound, "NAMESPACE_NOT_FOUND"):
        await lead.iam.CreateGrant(grant("lead", "*", Role.ADMIN))


async def test_everybody_may_ask_who_they_are(zoo: CatalogService) -> None:
    caller = await zoo.caller("app", {"team": Role.INVOKER, "*": Role.VIEWER})
    principal = await caller.iam.GetPrincipal(pb.GetPrincipalRequest())
    assert (principal.subject, dict(principal.roles)) == ("app", {"team": 2, "*": 1})
