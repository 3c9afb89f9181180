"""Grants: the role of a subject in a namespace, at most one for each pair. `*` is the cluster and every namespace."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Row, delete, func, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from modelzoo.errors import FailedPrecondition, NotFound
from zoo_catalog import changes
from zoo_catalog.names import stored_namespace
from zoo_catalog.schema import grants
from zoo_server.paging import Page, PageRequest, page_of
from zoo_server.principal import EVERYWHERE, Role
from zoo_store.sql import Database

__all__ = ["Grant", "Grants", "all_grants", "put_grant", "revoke_all"]


@dataclass(frozen=True, slots=True)
class Grant:
    subject: str
    namespace: str
    role: Role
    create_time: datetime


class Grants:
    def __init__(self, database: Database) -> None:
        self._database = database

    async def create(self, subject: str, namespace: str, role: Role, actor: str) -> Grant:
        """Give the role in place of any that the subject has there. Raises NAMESPACE_NOT_FOUND and LAST_ADMIN."""
        async with self._database.write() as connection:
            return await put_grant(connection, subject, await _stored(connection, namespace), role, actor)

    async def list(self, namespace: str, page: PageRequest) -> Page[Grant]:
        """A namespace's grants, by subject. Raises NAMESPACE_NOT_FOUND and PAGE_TOKEN_INVALID."""
        listing = f"grants of {namespace.casefold()}"
        after = page.after(listing, str)
        query = select(grants).where(grants.c.namespace_key == namespace.casefold()).order_by(grants.c.subject)
        if after is not None:
            query = query.where(grants.c.subject > after)
        async with self._database.read() as connection:
            await _stored(connection, namespace)
            rows = (await connection.execute(query.limit(page.fetch))).all()
        return page_of(listing, map(_from_row, rows), page.size, lambda grant: grant.subject)

    async def revoke(self, subject: str, namespace: str, actor: str) -> None:
        """Raises GRANT_NOT_FOUND and LAST_ADMIN."""
        async with self._database.write() as connection:
            before = await _find(connection, subject, namespace)
            if before is None:
                raise NotFound(
                    "GRANT_NOT_FOUND", f"{subject} has no role in the namespace {namespace!a}: list its grants"
                )
            await _keep_an_admin(connection, before)
            await changes.append(connection, actor, "RevokeGrant", _resource(before), before=_state(before))
            await connection.execute(delete(grants).where(*_is(subject, namespace)))


async def put_grant(connection: AsyncConnection, subject: str, namespace: str, role: Role, actor: str) -> Grant:
    """Give the role in the namespace, written as it was created. Raises LAST_ADMIN."""
    before = await _find(connection, subject, namespace)
    if before is not None:
        if before.role == role:
            return before
        await _keep_an_admin(connection, before)
    after = {"subject": subject, "namespace": namespace, "role": role.name.lower()}
    change = await changes.append(
        connection, actor, "CreateGrant", f"{namespace}:{subject}", before=before and _state(before), after=after
    )
    if before is None:
        key = {"namespace_key": namespace.casefold(), "subject": subject, "namespace": namespace}
        await connection.execute(insert(grants).values(**key, role=int(role), create_time=change.time))
    else:
        await connection.execute(
            update(grants).where(*_is(subject, namespace)).values(role=int(role), create_time=change.time)
        )
    return Grant(subject, namespace, role, change.time)


async def revoke_all(connection: AsyncConnection, namespace: str, actor: str) -> None:
    """Take every role in the namespace away."""
    in_it = grants.c.namespace_key == namespace.casefold()
    rows = (await connection.execute(select(grants).where(in_it).order_by(grants.c.subject))).all()
    for grant in map(_from_row, rows):
        await changes.append(connection, actor, "RevokeGrant", _resource(grant), before=_state(grant))
    await connection.execute(delete(grants).where(in_it))


async def all_grants(connection: AsyncConnection) -> list[Grant]:
    return [_from_row(row) for row in await connection.execute(select(grants))]


async def _keep_an_admin(connection: AsyncConnection, losing: Grant) -> None:
    """Raise LAST_ADMIN where nobody could administer the cluster without this grant."""
    if losing.namespace != EVERYWHERE or losing.role != Role.ADMIN:
        return
    others = select(func.count()).where(
        grants.c.namespace_key == EVERYWHERE, grants.c.role == int(Role.ADMIN), grants.c.subject != losing.subject
    )
    if not (await connection.execute(others)).scalar_one():
        raise FailedPrecondition(
            "LAST_ADMIN",
            f"{losing.subject} is the only admin of the cluster: give another subject the role admin in '*' first",
        )


async def _stored(connection: AsyncConnection, namespace: str) -> str:
    return EVERYWHERE if namespace == EVERYWHERE else await stored_namespace(connection, namespace)


async def _find(connection: AsyncConnection, subject: str, namespace: str) -> Grant | None:
    row = (await connection.execute(select(grants).where(*_is(subject, namespace)))).one_or_none()
    return None if row is None else _from_row(row)


def _is(subject: str, namespace: str) -> Any:
    return grants.c.namespace_key == namespace.casefold(), grants.c.subject == subject


def _resource(grant: Grant) -> str:
    return f"{grant.namespace}:{grant.subject}"


def _state(grant: Grant) -> changes.State:
    return {"subject": grant.subject, "namespace": grant.namespace, "role": grant.role.name.lower()}


def _from_row(row: Row[Any]) -> Grant:
    return Grant(row.subject, row.namespace, Role(row.role), row.create_time)
