"""What an empty catalog starts with, and that starting again changes nothing."""

import logging

import pytest
from sqlalchemy import select, update

from modelzoo.errors import Unauthenticated
from support.catalog_service import CatalogService
from zoo.catalog.v1 import catalog_service_pb2 as pb
from zoo.iam.v1 import iam_service_pb2 as iam_pb
from zoo_catalog.bootstrap import bootstrap
from zoo_catalog.schema import changes, keys

SECRET = f"zoo_0123456789abcdef_{'A' * 43}"


async def state(zoo: CatalogService) -> list[object]:
    async with zoo.database.read() as connection:
        return [(await connection.execute(select(table))).all() for table in (changes, keys)]


async def test_an_empty_catalog_gets_a_key_its_role_and_the_default_namespace(zoo: CatalogService) -> None:
    await bootstrap(zoo.database, SECRET)
    snapshot = await zoo.admin.iam.WatchAccess(iam_pb.WatchAccessRequest()).read()
    assert [(key.name, key.subject) for key in snapshot.keys] == [("key_0123456789abcdef", "admin")]
    assert [(grant.subject, grant.namespace, grant.role) for grant in snapshot.grants] == [("admin", "*", 5)]
    assert (await zoo.admin.catalog.GetNamespace(pb.GetNamespaceRequest(name="zoo"))).namespace.name == "zoo"


async def test_starting_again_changes_nothing(zoo: CatalogService) -> None:
    await bootstrap(zoo.database, SECRET)
    before = await state(zoo)
    await bootstrap(zoo.database, SECRET)
    assert await state(zoo) == before


async def test_a_new_secret_is_a_second_key(zoo: CatalogService) -> None:
    await bootstrap(zoo.database, SECRET)
    await bootstrap(zoo.database, SECRET.replace("0123", "4567"))
    assert len((await zoo.admin.iam.ListKeys(iam_pb.ListKeysRequest())).keys) == 2


async def test_a_revoked_key_does_not_come_back(zoo: CatalogService, caplog: pytest.LogCaptureFixture) -> None:
    await bootstrap(zoo.database, SECRET)
    async with zoo.database.write() as connection:
        await connection.execute(update(keys).values(revoke_time=keys.c.create_time))
    before = await state(zoo)
    with caplog.at_level(logging.WARNING):
        await bootstrap(zoo.database, SECRET)
    assert await state(zoo) == before
    assert "revoked" in caplog.text


async def test_a_secret_with_the_name_of_another_key_is_refused(zoo: CatalogService) -> None:
    await bootstrap(zoo.database, SECRET)
    with pytest.raises(Unauthenticated) as caught:
        await bootstrap(zoo.database, SECRET[:-1] + "B")
    assert caught.value.reason == "CREDENTIAL_INVALID"


@pytest.mark.parametrize("secret", ["", "admin", SECRET[:-1], SECRET + "A", SECRET.upper(), SECRET + "\n"])
async def test_a_weak_secret_is_refused_and_not_repeated(zoo: CatalogService, secret: str) -> None:
    with pytest.raises(Unauthenticated) as caught:
        await bootstrap(zoo.database, secret)
    assert caught.value.reason == "CREDENTIAL_INVALID"
    assert len(secret) < 20 or secret not in str(caught.value)
    assert await state(zoo) == [[], []]
