"""Keys: credentials of subjects. A secret is `zoo_<16 hexadecimal digits>_<43 characters>`, shown once.

Its digits name the key, its characters are 32 random bytes as URL-safe base64. Stored is the SHA-256 of the whole: of
256 random bits nothing can be guessed, so that a slow hash would add nothing.
"""

import hashlib
import re
import secrets
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Row, insert, or_, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from modelzoo.errors import InvalidArgument, NotFound, Unauthenticated
from zoo_catalog import changes
from zoo_catalog.requests import Request
from zoo_catalog.schema import keys
from zoo_server.paging import Page, PageRequest, page_of
from zoo_store.sql import Database

__all__ = ["Key", "Keys", "NewKey", "current_keys", "find_key", "insert_key", "name_in"]

# So long a gateway is told that a key was revoked; afterwards it is as unknown as any other.
REVOKED_SHOWN = timedelta(days=1)
_SECRET = re.compile(r"zoo_([0-9a-f]{16})_[A-Za-z0-9_-]{43}")


@dataclass(frozen=True, slots=True)
class Key:
    """`expire_time` None: never; `revoke_time` None: it was not."""

    id: int
    name: str
    subject: str
    description: str
    create_time: datetime
    expire_time: datetime | None
    revoke_time: datetime | None
    secret_sha256: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class NewKey:
    """A key and its secret, which is '' where the key was made by an earlier try."""

    key: Key
    secret: str = field(repr=False)


class Keys:
    def __init__(self, database: Database) -> None:
        self._database = database

    async def create(
        self, subject: str, description: str, expire_time: datetime | None, actor: str, request_id: str = ""
    ) -> NewKey:
        """Make a key. Raises REQUEST_ID_REUSED, and FIELD_INVALID for an expiry that has passed."""
        request = Request(actor, "CreateKey", request_id, _state("", subject, description, expire_time))
        secret = f"zoo_{secrets.token_hex(8)}_{secrets.token_urlsafe(32)}"
        async with self._database.write() as connection:
            made = await request.made(connection)
            if made is not None:
                return NewKey(await _get(connection, made), "")
            key = await insert_key(connection, secret, subject, description, expire_time, actor)
            await request.keep(connection, key.name)
        return NewKey(key, secret)

    async def list(self, page: PageRequest) -> Page[Key]:
        """Every key, newest first. Raises PAGE_TOKEN_INVALID."""
        before = page.after("keys", int)
        query = select(keys).order_by(keys.c.id.desc())
        if before is not None:
            query = query.where(keys.c.id < before)
        async with self._database.read() as connection:
            rows = (await connection.execute(query.limit(page.fetch))).all()
        return page_of("keys", map(_from_row, rows), page.size, lambda key: key.id)

    async def revoke(self, name: str, actor: str) -> Key:
        """Make the key stop working for good; again changes nothing. Raises KEY_NOT_FOUND."""
        async with self._database.write() as connection:
            key = await _get(connection, name)
            if key.revoke_time is not None:
                return key
            state = _state(key.name, key.subject, key.description, key.expire_time)
            change = await changes.append(
                connection, actor, "RevokeKey", name, before=state, after={**state, "revoked": True}
            )
            await connection.execute(update(keys).where(keys.c.name == name).values(revoke_time=change.time))
            return await _get(connection, name)


async def insert_key(
    connection: AsyncConnection,
    secret: str,
    subject: str,
    description: str,
    expire_time: datetime | None,
    actor: str,
) -> Key:
    """Make the key of a well-formed secret. Raises FIELD_INVALID for an expiry that has passed."""
    name = name_in(secret)
    state = _state(name, subject, description, expire_time)
    change = await changes.append(connection, actor, "CreateKey", name, after=state)
    if expire_time is not None and expire_time <= change.time:
        raise InvalidArgument(
            "FIELD_INVALID",
            "key.expire_time has passed: choose one in the future, or none for a key that does not expire",
            field="key.expire_time",
            metadata={"field": "key.expire_time"},
        )
    values: dict[str, Any] = {
        "name": name,
        "secret_sha256": hashlib.sha256(secret.encode()).digest(),
        "subject": subject,
        "description": description,
        "create_time": change.time,
        "expire_time": expire_time,
    }
    await connection.execute(insert(keys).values(values))
    return await _get(connection, name)


async def current_keys(connection: AsyncConnection) -> list[Key]:
    """Those that were not revoked more than a day ago."""
    since = await changes.current_time(connection) - REVOKED_SHOWN
    query = select(keys).where(or_(keys.c.revoke_time.is_(None), keys.c.revoke_time > since))
    return [_from_row(row) for row in await connection.execute(query)]


def name_in(secret: str) -> str:
    """The name of the key whose secret this is. Raises CREDENTIAL_INVALID without repeating it."""
    found = _SECRET.fullmatch(secret)
    if found is None:
        raise Unauthenticated(
            "CREDENTIAL_INVALID",
            "a key's secret is 'zoo_', 16 hexadecimal digits, '_' and 43 characters of URL-safe base64",
        )
    return f"key_{found[1]}"


async def find_key(connection: AsyncConnection, name: str) -> Key | None:
    row = (await connection.execute(select(keys).where(keys.c.name == name))).one_or_none()
    return None if row is None else _from_row(row)


async def _get(connection: AsyncConnection, name: str) -> Key:
    key = await find_key(connection, name)
    if key is None:
        raise NotFound("KEY_NOT_FOUND", f"there is no key '{name}': list keys to see their names")
    return key


def _state(name: str, subject: str, description: str, expire_time: datetime | None) -> dict[str, str | None]:
    """For the log: everything but what belongs to the secret."""
    expires = expire_time.isoformat() if expire_time else None
    return {"name": name, "subject": subject, "description": description, "expire_time": expires}


def _from_row(row: Row[Any]) -> Key:
    return Key(
        id=row.id,
        name=row.name,
        subject=row.subject,
        description=row.description,
        create_time=row.create_time,
        expire_time=row.expire_time,
        revoke_time=row.revoke_time,
        secret_sha256=row.secret_sha256,
    )
