"""Models: names under which versions are published. What they do is read from their newest version."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Row, insert, select
from sqlalchemy.ext.asyncio import AsyncConnection

from modelzoo.errors import AlreadyExists
from zoo_catalog import changes
from zoo_catalog.names import model_not_found, namespace_of, parse_model, stored_namespace
from zoo_catalog.requests import Request
from zoo_catalog.schema import models
from zoo_store.sql import Database

__all__ = ["Model", "Models", "model_from_row", "model_row"]


@dataclass(frozen=True, slots=True)
class Model:
    """`card` is '' in lists; `latest_version` 0 where no version is READY."""

    name: str
    description: str
    task: str
    licence: str
    tags: tuple[str, ...]
    card: str
    architecture: str
    parameters: int
    size_bytes: int
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
            return model_from_row(await model_row(connection, path))

    async def get(self, name: str) -> Model:
        """Raises REFERENCE_INVALID and MODEL_NOT_FOUND."""
        async with self._database.read() as connection:
            return model_from_row(await model_row(connection, parse_model(name)))


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
        "architecture": "",
        "parameters": 0,
        "size_bytes": 0,
        "latest_version": 0,
        "newest_version": 0,
        "etag": change.sequence,
        "create_time": change.time,
        "update_time": change.time,
    }
    await connection.execute(insert(models).values(values))


def model_from_row(row: Row[Any]) -> Model:
    return Model(
        name=row.name,
        description=row.description,
        task=row.task,
        licence=row.licence,
        tags=tuple(row.tags),
        card=row.card,
        architecture=row.architecture,
        parameters=row.parameters,
        size_bytes=row.size_bytes,
        latest_version=row.latest_version,
        etag=str(row.etag),
        create_time=row.create_time,
        update_time=row.update_time,
    )
