"""Listings: order, pages, what each caller sees, and writes between two pages."""

from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from sqlalchemy import update

from modelzoo.errors import InvalidArgument, NotFound
from support.catalog_service import Caller, CatalogService, refused
from zoo.catalog.v1 import catalog_service_pb2 as pb
from zoo.iam.v1 import iam_service_pb2 as iam_pb
from zoo_catalog.schema import versions
from zoo_server.paging import encode_token
from zoo_server.principal import Role

Lister = Callable[..., Awaitable[Any]]


async def pages(method: Lister, request: Any, size: int) -> list[list[Any]]:
    """Every page of a listing, as lists of its resources."""
    found: list[list[Any]] = []
    request.page_size = size
    while True:
        response = await method(request)
        found.append(list(next(value for field, value in response.ListFields() if field.name != "next_page_token")))
        if not response.next_page_token:
            return found
        request.page_token = response.next_page_token


async def names(caller: Caller, namespace: str = "") -> list[str]:
    response = await caller.catalog.ListModels(pb.ListModelsRequest(namespace=namespace))
    return [model.name for model in response.models]


async def test_pages_follow_each_other_without_gap_or_repetition(zoo: CatalogService) -> None:
    await zoo.namespace("team")
    for name in ("c", "A", "b", "E", "d"):
        await zoo.admin.model(f"team/{name}")
    found = await pages(zoo.admin.catalog.ListModels, pb.ListModelsRequest(), 2)
    assert [[model.name for model in page] for page in found] == [
        ["team/A", "team/b"],
        ["team/c", "team/d"],
        ["team/E"],
    ]


async def test_a_page_that_ends_the_listing_has_no_token(zoo: CatalogService) -> None:
    await zoo.namespace("team")
    await zoo.admin.model("team/a")
    response = await zoo.admin.catalog.ListModels(pb.ListModelsRequest(page_size=1))
    assert (len(response.models), response.next_page_token) == (1, "")


async def test_writes_between_two_pages_neither_repeat_nor_hide_others(zoo: CatalogService) -> None:
    await zoo.namespace("team")
    for name in ("b", "d", "f"):
        await zoo.admin.model(f"team/{name}")
    first = await zoo.admin.catalog.ListModels(pb.ListModelsRequest(page_size=2))
    for name in ("a", "c", "e"):
        await zoo.admin.model(f"team/{name}")
    request = pb.ListModelsRequest(page_size=10, page_token=first.next_page_token)
    second = await zoo.admin.catalog.ListModels(request)
    assert [model.name for model in second.models] == ["team/e", "team/f"]


async def test_everyone_sees_models_of_namespaces_with_a_role_of_theirs(zoo: CatalogService) -> None:
    for name in ("one", "two", "three"):
        await zoo.namespace(name)
        await zoo.admin.model(f"{name}/m")
    caller = await zoo.caller("app", {"ONE": Role.VIEWER, "two": Role.INVOKER})
    assert await names(caller) == ["one/m", "two/m"]
    assert await names(caller, "Two") == ["two/m"]
    assert await names(caller, "three") == []
    assert await names(await zoo.caller("all", {"*": Role.VIEWER})) == ["one/m", "three/m", "two/m"]
    assert await names(await zoo.caller("none", {})) == []


async def test_everyone_sees_namespaces_with_a_role_of_theirs(zoo: CatalogService) -> None:
    for name in ("one", "Two", "three"):
        await zoo.namespace(name)
    caller = await zoo.caller("app", {"two": Role.VIEWER, "three": Role.ADMIN})
    found = await pages(caller.catalog.ListNamespaces, pb.ListNamespacesRequest(), 1)
    assert [[namespace.name for namespace in page] for page in found] == [["three"], ["Two"]]


async def test_models_are_listed_without_their_cards(zoo: CatalogService) -> None:
    await zoo.namespace("team")
    await zoo.admin.model("team/a")
    await zoo.admin.publish("team/a", zoo.artifact.put("team", {"README.md": b"---\nlicense: mit\n---\n# Text"}))
    [model] = (await zoo.admin.catalog.ListModels(pb.ListModelsRequest())).models
    assert (model.card, model.licence) == ("", "mit")


async def test_versions_are_listed_highest_first_without_deleted_ones(zoo: CatalogService) -> None:
    await zoo.published("team/bert", 5)
    async with zoo.database.write() as connection:
        await connection.execute(update(versions).where(versions.c.version == 3).values(state="DELETED"))
    found = await pages(zoo.admin.catalog.ListVersions, pb.ListVersionsRequest(model="Team/Bert"), 2)
    assert [[version.version for version in page] for page in found] == [[5, 4], [2, 1]]


async def test_aliases_are_listed_by_name_with_their_targets(zoo: CatalogService) -> None:
    await zoo.published("team/bert", 2)
    for name in ("prod", "canary", "test"):
        await zoo.admin.set_alias("team/bert", name, {1: 3, 2: 1})
    found = await pages(zoo.admin.catalog.ListAliases, pb.ListAliasesRequest(model="team/bert"), 2)
    assert [[alias.alias for alias in page] for page in found] == [["canary", "prod"], ["test"]]
    assert [(target.version, target.weight) for target in found[1][0].targets] == [(1, 3), (2, 1)]


async def test_keys_and_grants_come_in_pages_too(zoo: CatalogService) -> None:
    await zoo.namespace("team")
    for n in range(3):
        await zoo.admin.iam.CreateKey(iam_pb.CreateKeyRequest(key={"subject": f"s{n}"}))
        await zoo.admin.iam.CreateGrant(
            iam_pb.CreateGrantRequest(grant={"subject": f"s{n}", "namespace": "team", "role": 1})
        )
    found = await pages(zoo.admin.iam.ListKeys, iam_pb.ListKeysRequest(), 2)
    assert [[key.subject for key in page] for page in found] == [["s2", "s1"], ["s0"]]
    found = await pages(zoo.admin.iam.ListGrants, iam_pb.ListGrantsRequest(namespace="TEAM"), 3)
    assert [[grant.subject for grant in page] for page in found] == [["admin", "s0", "s1"], ["s2"]]


@pytest.mark.parametrize("token", ["x", "====", "W10=", encode_token("models of ", 3), encode_token("namespaces", "a")])
async def test_a_token_that_this_listing_did_not_give_is_refused(zoo: CatalogService, token: str) -> None:
    with refused(InvalidArgument, "PAGE_TOKEN_INVALID"):
        await zoo.admin.catalog.ListModels(pb.ListModelsRequest(page_token=token))


async def test_the_token_of_one_models_versions_does_not_page_anothers(zoo: CatalogService) -> None:
    for name in ("a", "b"):
        await zoo.published(f"{name}/m", 2)
    response = await zoo.admin.catalog.ListVersions(pb.ListVersionsRequest(model="a/m", page_size=1))
    with refused(InvalidArgument, "PAGE_TOKEN_INVALID"):
        request = pb.ListVersionsRequest(model="b/m", page_token=response.next_page_token)
        await zoo.admin.catalog.ListVersions(request)


@pytest.mark.parametrize("size", [-1, 1001])
async def test_a_page_size_out_of_bounds_is_refused(zoo: CatalogService, size: int) -> None:
    with refused(InvalidArgument, "FIELD_INVALID"):
        await zoo.admin.catalog.ListModels(pb.ListModelsRequest(page_size=size))


async def test_versions_and_aliases_of_an_unknown_model_are_not_found(zoo: CatalogService) -> None:
    await zoo.namespace("team")
    with refused(NotFound, "MODEL_NOT_FOUND"):
        await zoo.admin.catalog.ListVersions(pb.ListVersionsRequest(model="team/none"))
    with refused(NotFound, "MODEL_NOT_FOUND"):
        await zoo.admin.catalog.ListAliases(pb.ListAliasesRequest(model="team/none"))
