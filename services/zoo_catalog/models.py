"""Models: names under which versions are published. What they do is read from their newest version."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Row, insert, literal, select
from sqlalchemy.ext.asyncio import AsyncConnection

from modelzoo.errors import AlreadyExists
from zoo_catalog import changes
from zoo_catalog.names import model_not_found, namespace_of, parse_model, stored_namespace
from zoo_catalog.namespaces import seen_by
from zoo_catalog.requests import Request
from zoo_catalog.schema import models
from zoo_server.paging import Page, PageRequest, page_of
from zoo_server.principal import Principal
from zoo_store.sql import Database

__all__ = ["Model", "Models", "model_row"]

_COLUMNS_BUT_CARD = [column for column in models.c if column is not models.c.card]


@dataclass(frozen=True, slots=True)
class Model:
    """`card` is '' in lists; `latest_version` 0 where no version is READY."""

    name: str
    description: str
    task: str
    licence: str
    tags: tuple[str, ...]
    card: str
    latest_version: int
    etag: str
    create_time: datetime
    update_time: datetime


class Models:
    def __init__(self, database: Database) -> None:
        self._database = database

    async def create(self, name: str, description: str, actor: str, request_id: str = "") -> Model:
        """Make a model without versions. Raises REFERENCE_INVALID, NAMESPACE_NOT_FOUND, MODEL_EXISTS (of deleted ones
        too) and REQUEST_ID_REUSED.
        """
        path = parse_model(name)
        namespace, _, own = path.partition("/")
        key = path.casefold()
        request = Request(actor, "CreateModel", request_id, {"model": key, "description": description})
        async with self._database.write() as connection:
            if await request.made(connection) is None:
                written = f"{await stored_namespace(connection, namespace)}/{own}"
                if (await connection.execute(select(models.c.id).where(models.c.key == key))).one_or_none():
                    raise AlreadyExists("MODEL_EXISTS", f"the model '{path}' exists, or did: choose another name")
                await _insert(connection, written, description, actor)
                await request.keep(connection, key)
            return _from_row(await model_row(connection, path))

    async def get(self, name: str) -> Model:
        """Raises REFERENCE_INVALID and MODEL_NOT_FOUND."""
        async with self._database.read() as connection:
            return _from_row(await model_row(connection, parse_model(name)))

    async def list(self, principal: Principal, namespace: str, page: PageRequest) -> Page[Model]:
        """Those that `principal` may see, of one namespace or ('') of all, by name. Raises PAGE_TOKEN_INVALID."""
        listing = f"models of {namespace.casefold()}"
        after = page.after(listing, str)
        query = select(*_COLUMNS_BUT_CARD, literal("").label("card")).where(
            models.c.delete_time.is_(None), seen_by(principal, models.c.namespace_key)
        )
        if namespace:
            query = query.where(models.c.namespace_key == namespace.casefold())
        if after is not None:
            query = query.where(models.c.key > after)
        async with self._database.read() as connection:
            rows = (await connection.execute(query.order_by(models.c.key).limit(page.fetch))).all()
        return page_of(listing, map(_from_row, rows), page.size, lambda model: model.name.casefold())


async def model_row(connection: AsyncConnection, name: str) -> Row[Any]:
    """The row of `namespace/name`. Raises MODEL_NOT_FOUND."""
    query = select(models).where(models.c.key == name.casefold(), models.c.delete_time.is_(None))
    row = (await connection.execute(query)).one_or_none()
    if row is None:
        raise model_not_found(name)
    return row


async def _insert(connection: AsyncConnection, name: str, description: str, actor: str) -> None:
    after = {"name": name, "description": description}
    change = await changes.append(connection, actor, "CreateModel", name, after=after)
    values: dict[str, Any] = {
        "key": name.casefold(),
        "namespace_key": namespace_of(name).casefold(),
        "name": name,
        "description": description,
        "task": "",
        "licence": "",
        "tags": [],
        "card": "",
        "latest_version": 0,
        "newest_version": 0,
        "etag": change.sequence,
        "create_time": change.time,
        "update_time": change.time,
    }
    await connection.execute(insert(models).values(values))


def _from_row(row: Row[Any]) -> Model:
    return Model(
        name=row.name,
        description=row.description,
        task=row.task,
        licence=row.licence,
        tags=tuple(row.tags),
        card=row.card,
        latest_version=row.latest_version,
        etag=str(row.etag),
        create_time=row.create_time,
        update_time=row.update_time,
    )
