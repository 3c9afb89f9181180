"""Models: names under which versions are published. What they do is read from their newest version."""

from dataclasses import dataclass, replace
from datetime import datetime
from enum import Enum
from typing import Any

from sqlalchemy import Row, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from modelzoo.errors import AlreadyExists, NotFound
from zoo_catalog import changes
from zoo_catalog.etags import check_etag
from zoo_catalog.names import model_not_found, namespace_of, parse_model, stored_namespace
from zoo_catalog.requests import Request
from zoo_catalog.schema import models
from zoo_store.sql import Database

__all__ = ["Model", "ModelEdit", "ModelKind", "Models", "model_from_row", "model_row", "model_state"]


class ModelKind(Enum):
    """By the names of zoo.catalog.v1.ModelKind."""

    MODEL = "MODEL"
    DATASET = "DATASET"


@dataclass(frozen=True, slots=True)
class Model:
    """`card` is '' in lists; `latest_version` 0 where no version is READY; times of deletion None where it is not."""

    name: str
    description: str
    owner: str
    gated: bool
    kind: ModelKind
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
    delete_time: datetime | None
    purge_time: datetime | None


@dataclass(frozen=True, slots=True)
class ModelEdit:
    """What is to become of a model; None: as it is."""

    description: str | None = None
    owner: str | None = None
    gated: bool | None = None


class Models:
    def __init__(self, database: Database) -> None:
        self._database = database

    async def create(
        self,
        name: str,
        description: str,
        actor: str,
        request_id: str = "",
        *,
        owner: str = "",
        gated: bool = False,
        kind: ModelKind = ModelKind.MODEL,
    ) -> Model:
        """Make a model without versions, owned by its creator unless said otherwise. Raises REFERENCE_INVALID,
        NAMESPACE_NOT_FOUND, MODEL_EXISTS (of deleted ones too) and REQUEST_ID_REUSED.
        """
        path = parse_model(name)
        namespace, _, own = path.partition("/")
        key = path.casefold()
        said = {"description": description, "owner": owner or actor, "gated": gated, "kind": kind.value}
        request = Request(actor, "CreateModel", request_id, {"model": key, **said})
        async with self._database.write() as connection:
            if await request.made(connection) is None:
                written = f"{await stored_namespace(connection, namespace)}/{own}"
                if (await connection.execute(select(models.c.id).where(models.c.key == key))).one_or_none():
                    raise AlreadyExists("MODEL_EXISTS", f"the model '{path}' exists, or did: choose another name")
                await _insert(connection, written, said, actor)
                await request.keep(connection, key)
            return model_from_row(await model_row(connection, path))

    async def get(self, name: str) -> Model:
        """Raises REFERENCE_INVALID and MODEL_NOT_FOUND."""
        async with self._database.read() as connection:
            return model_from_row(await model_row(connection, parse_model(name)))

    async def update(self, name: str, edit: ModelEdit, etag: str, actor: str) -> Model:
        """Raises REFERENCE_INVALID, MODEL_NOT_FOUND and ETAG_MISMATCH. What changes nothing is not recorded."""
        path = parse_model(name)
        async with self._database.write() as connection:
            row = await model_row(connection, path)
            before = model_from_row(row)
            check_etag(etag, before.etag, f"the model '{before.name}'")
            after = replace(
                before,
                description=before.description if edit.description is None else edit.description,
                owner=edit.owner or before.owner,
                gated=before.gated if edit.gated is None else edit.gated,
            )
            if after == before:
                return before
            change = await changes.append(
                connection, actor, "UpdateModel", before.name, before=model_state(before), after=model_state(after)
            )
            changed = {"description": after.description, "owner": after.owner, "gated": after.gated}
            stamps = {"etag": change.sequence, "update_time": change.time}
            await connection.execute(update(models).where(models.c.id == row.id).values({**changed, **stamps}))
            return replace(after, etag=str(change.sequence), update_time=change.time)


async def model_row(connection: AsyncConnection, name: str) -> Row[Any]:
    """The row of `namespace/name`, for a caller that may see it. Raises MODEL_NOT_FOUND, which says what became of one
    that was deleted."""
    row = (await connection.execute(select(models).where(models.c.key == name.casefold()))).one_or_none()
    if row is None:
        raise model_not_found(name)
    if row.delete_time is not None:
        raise _model_gone(row)
    return row


def model_state(model: Model) -> changes.State:
    """What the log keeps of a model."""
    return {
        "name": model.name,
        "description": model.description,
        "owner": model.owner,
        "gated": model.gated,
        "kind": model.kind.value,
    }


def _model_gone(row: Row[Any]) -> NotFound:
    state = "PURGED" if row.purged else "DELETED"
    until = "" if row.purge_time is None else f" until {row.purge_time:%Y-%m-%d}"
    way_back = (
        "and its bytes are gone" if row.purged else f"and can be brought back{until}: `zoo model undelete {row.name}`"
    )
    return NotFound(
        "MODEL_NOT_FOUND",
        f"the model '{row.name}' was deleted, {way_back}; names are never given again, so a new model needs another",
        metadata={"model": row.name, "state": state},
    )


async def _insert(connection: AsyncConnection, name: str, said: dict[str, Any], actor: str) -> None:
    change = await changes.append(connection, actor, "CreateModel", name, after={"name": name, **said})
    values: dict[str, Any] = {
        "key": name.casefold(),
        "namespace_key": namespace_of(name).casefold(),
        "name": name,
        **said,
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
        owner=row.owner,
        gated=row.gated,
        kind=ModelKind(row.kind),
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
        delete_time=row.delete_time,
        purge_time=row.purge_time,
    )
