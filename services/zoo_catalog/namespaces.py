"""Namespaces: who owns models, and who may see them."""

from collections.abc import AsyncGenerator
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Row, func, insert, select, true, update
from sqlalchemy.ext.asyncio import AsyncConnection

from modelzoo.errors import AlreadyExists, FailedPrecondition
from zoo_catalog import changes
from zoo_catalog.etags import check_etag
from zoo_catalog.grants import put_grant, revoke_all
from zoo_catalog.names import namespace_not_found
from zoo_catalog.policy import Policy, PolicyEdit, policy_from_json, policy_to_json
from zoo_catalog.quota import used_bytes
from zoo_catalog.requests import Request
from zoo_catalog.schema import models, namespaces
from zoo_server.paging import Page, PageRequest, page_of
from zoo_server.principal import EVERYWHERE, Principal, Role
from zoo_store.sql import Database

__all__ = ["Namespace", "NamespaceEdit", "Namespaces", "NewNamespace", "has_namespace", "insert_namespace", "seen_by"]

NAMES_AT_ONCE = 500
DEFAULT_POLICY = Policy()
NO_EDIT = PolicyEdit()


@dataclass(frozen=True, slots=True)
class NewNamespace:
    """`quota_bytes` 0: no limit."""

    name: str
    description: str = ""
    policy: Policy = DEFAULT_POLICY
    quota_bytes: int = 0


@dataclass(frozen=True, slots=True)
class Namespace:
    name: str
    description: str
    policy: Policy
    quota_bytes: int
    etag: str
    create_time: datetime
    update_time: datetime


@dataclass(frozen=True, slots=True)
class NamespaceEdit:
    """What is to become of a namespace; None: as it is."""

    description: str | None = None
    policy: PolicyEdit = NO_EDIT
    quota_bytes: int | None = None


class Namespaces:
    def __init__(self, database: Database) -> None:
        self._database = database

    async def create(self, asked: NewNamespace, actor: str, request_id: str = "") -> Namespace:
        """Make a namespace whose admin is `actor`. Raises NAMESPACE_EXISTS, of deleted ones too, REQUEST_ID_REUSED."""
        arguments = {"name": asked.name.casefold(), "description": asked.description}
        request = Request(actor, "CreateNamespace", request_id, arguments)
        async with self._database.write() as connection:
            if await request.made(connection) is None:
                await insert_namespace(
                    connection, asked.name, asked.description, actor, asked.policy, asked.quota_bytes
                )
                await put_grant(connection, actor, asked.name, Role.ADMIN, actor)
                await request.keep(connection, asked.name.casefold())
            return await _find(connection, asked.name)

    async def get(self, name: str) -> Namespace:
        """Raises NAMESPACE_NOT_FOUND."""
        async with self._database.read() as connection:
            return await _find(connection, name)

    async def used_bytes(self, name: str) -> int:
        """What counts towards the quota now."""
        async with self._database.read() as connection:
            return await used_bytes(connection, name.casefold())

    async def list(self, principal: Principal, page: PageRequest) -> Page[Namespace]:
        """Those in which `principal` has a role, by name. Raises PAGE_TOKEN_INVALID."""
        after = page.after("namespaces", str)
        query = _existing().where(seen_by(principal, namespaces.c.key)).order_by(namespaces.c.key)
        if after is not None:
            query = query.where(namespaces.c.key > after)
        async with self._database.read() as connection:
            rows = (await connection.execute(query.limit(page.fetch))).all()
        return page_of("namespaces", map(_from_row, rows), page.size, lambda item: item.name.casefold())

    async def names(self) -> AsyncGenerator[str]:
        """Of all that are not deleted."""
        query = _existing().order_by(namespaces.c.key).limit(NAMES_AT_ONCE)
        after = ""
        while True:
            async with self._database.read() as connection:
                rows = (await connection.execute(query.where(namespaces.c.key > after))).all()
            if not rows:
                return
            for row in rows:
                yield row.name
            after = rows[-1].key

    async def update(self, name: str, edit: NamespaceEdit, etag: str, actor: str) -> Namespace:
        """Raises NAMESPACE_NOT_FOUND and ETAG_MISMATCH. What changes nothing is not recorded."""
        async with self._database.write() as connection:
            before = await _find(connection, name)
            check_etag(etag, before.etag, f"the namespace '{before.name}'")
            after = replace(
                before,
                description=before.description if edit.description is None else edit.description,
                policy=edit.policy.apply(before.policy),
                quota_bytes=before.quota_bytes if edit.quota_bytes is None else edit.quota_bytes,
            )
            if after == before:
                return before
            change = await changes.append(
                connection, actor, "UpdateNamespace", before.name, before=_state(before), after=_state(after)
            )
            changed = {
                "description": after.description,
                "policy": policy_to_json(after.policy),
                "quota_bytes": after.quota_bytes,
                "etag": change.sequence,
                "update_time": change.time,
            }
            await connection.execute(update(namespaces).where(namespaces.c.key == name.casefold()).values(changed))
            return replace(after, etag=str(change.sequence), update_time=change.time)

    async def delete(self, name: str, etag: str, actor: str) -> None:
        """Delete it and its roles for good. Raises NAMESPACE_NOT_FOUND, ETAG_MISMATCH and NAMESPACE_NOT_EMPTY."""
        async with self._database.write() as connection:
            before = await _find(connection, name)
            check_etag(etag, before.etag, f"the namespace '{before.name}'")
            await _require_empty(connection, before.name)
            change = await changes.append(connection, actor, "DeleteNamespace", before.name, before=_state(before))
            gone = {"delete_time": change.time, "update_time": change.time, "etag": change.sequence}
            await connection.execute(update(namespaces).where(namespaces.c.key == name.casefold()).values(gone))
            await revoke_all(connection, before.name, actor)


async def insert_namespace(
    connection: AsyncConnection,
    name: str,
    description: str,
    actor: str,
    policy: Policy = DEFAULT_POLICY,
    quota_bytes: int = 0,
) -> None:
    """Raises NAMESPACE_EXISTS."""
    if await has_namespace(connection, name):
        raise AlreadyExists("NAMESPACE_EXISTS", f"the namespace '{name}' exists, or did: choose another name")
    said = {"name": name, "description": description, "policy": policy_to_json(policy), "quota_bytes": quota_bytes}
    change = await changes.append(connection, actor, "CreateNamespace", name, after=said)
    stamps = {"create_time": change.time, "update_time": change.time, "etag": change.sequence}
    await connection.execute(insert(namespaces).values(key=name.casefold(), **said, **stamps))


async def has_namespace(connection: AsyncConnection, name: str) -> bool:
    """Whether the name is taken, by a deleted namespace too."""
    query = select(namespaces.c.key).where(namespaces.c.key == name.casefold())
    return (await connection.execute(query)).one_or_none() is not None


def seen_by(principal: Principal, namespace_key: ColumnElement[Any], role: Role = Role.VIEWER) -> ColumnElement[bool]:
    """The condition that `principal` has this role in the row's namespace."""
    if (everywhere := principal.roles.get(EVERYWHERE)) is not None and everywhere >= role:
        return true()
    return namespace_key.in_(sorted(name.casefold() for name, held in principal.roles.items() if held >= role))


async def _require_empty(connection: AsyncConnection, name: str) -> None:
    query = select(func.count()).where(models.c.namespace_key == name.casefold(), models.c.delete_time.is_(None))
    count = (await connection.execute(query)).scalar_one()
    if count:
        raise FailedPrecondition(
            "NAMESPACE_NOT_EMPTY",
            f"the namespace '{name}' has {count} models: delete them first",
            metadata={"models": str(count)},
        )


async def _find(connection: AsyncConnection, name: str) -> Namespace:
    row = (await connection.execute(_existing().where(namespaces.c.key == name.casefold()))).one_or_none()
    if row is None:
        raise namespace_not_found(name)
    return _from_row(row)


def _existing() -> Any:
    return select(namespaces).where(namespaces.c.delete_time.is_(None))


def _state(namespace: Namespace) -> changes.State:
    return {
        "name": namespace.name,
        "description": namespace.description,
        "policy": policy_to_json(namespace.policy),
        "quota_bytes": namespace.quota_bytes,
    }


def _from_row(row: Row[Any]) -> Namespace:
    return Namespace(
        name=row.name,
        description=row.description,
        policy=policy_from_json(row.policy),
        quota_bytes=row.quota_bytes,
        etag=str(row.etag),
        create_time=row.create_time,
        update_time=row.update_time,
    )
