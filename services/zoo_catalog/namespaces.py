"""Namespaces: who owns models, and who may see them."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Row, insert, select, true
from sqlalchemy.ext.asyncio import AsyncConnection

from modelzoo.errors import AlreadyExists
from zoo_catalog import changes
from zoo_catalog.grants import put_grant
from zoo_catalog.names import namespace_not_found
from zoo_catalog.schema import namespaces
from zoo_server.paging import Page, PageRequest, page_of
from zoo_server.principal import EVERYWHERE, Principal, Role
from zoo_store.sql import Database

__all__ = ["Namespace", "Namespaces", "has_namespace", "insert_namespace", "seen_by"]


@dataclass(frozen=True, slots=True)
class Namespace:
    name: str
    description: str
    create_time: datetime


class Namespaces:
    def __init__(self, database: Database) -> None:
        self._database = database

    async def create(self, name: str, description: str, actor: str) -> Namespace:
        """Make a namespace whose admin is `actor`. Raises NAMESPACE_EXISTS, of deleted ones too."""
        async with self._database.write() as connection:
            namespace = await insert_namespace(connection, name, description, actor)
            await put_grant(connection, actor, name, Role.ADMIN, actor)
        return namespace

    async def get(self, name: str) -> Namespace:
        """Raises NAMESPACE_NOT_FOUND."""
        async with self._database.read() as connection:
            row = (await connection.execute(_existing().where(namespaces.c.key == name.casefold()))).one_or_none()
        if row is None:
            raise namespace_not_found(name)
        return _from_row(row)

    async def list(self, principal: Principal, page: PageRequest) -> Page[Namespace]:
        """Those in which `principal` has a role, by name. Raises PAGE_TOKEN_INVALID."""
        after = page.after("namespaces", str)
        query = _existing().where(seen_by(principal, namespaces.c.key)).order_by(namespaces.c.key)
        if after is not None:
            query = query.where(namespaces.c.key > after)
        async with self._database.read() as connection:
            rows = (await connection.execute(query.limit(page.fetch))).all()
        return page_of("namespaces", map(_from_row, rows), page.size, lambda item: item.name.casefold())


async def insert_namespace(connection: AsyncConnection, name: str, description: str, actor: str) -> Namespace:
    """Raises NAMESPACE_EXISTS."""
    if await has_namespace(connection, name):
        raise AlreadyExists("NAMESPACE_EXISTS", f"the namespace '{name}' exists, or did: choose another name")
    change = await changes.append(
        connection, actor, "CreateNamespace", name, after={"name": name, "description": description}
    )
    values = {"key": name.casefold(), "name": name, "description": description, "create_time": change.time}
    await connection.execute(insert(namespaces).values(values))
    return Namespace(name, description, change.time)


async def has_namespace(connection: AsyncConnection, name: str) -> bool:
    """Whether the name is taken, by a deleted namespace too."""
    query = select(namespaces.c.key).where(namespaces.c.key == name.casefold())
    return (await connection.execute(query)).one_or_none() is not None


def seen_by(principal: Principal, namespace_key: ColumnElement[Any]) -> ColumnElement[bool]:
    """The condition that `principal` has a role in the row's namespace."""
    if EVERYWHERE in principal.roles:
        return true()
    return namespace_key.in_(sorted(name.casefold() for name in principal.roles))


def _existing() -> Any:
    return select(namespaces).where(namespaces.c.delete_time.is_(None))


def _from_row(row: Row[Any]) -> Namespace:
    return Namespace(row.name, row.description, row.create_time)
