"""What request ids were used for (AIP-155), so that a retry finds what its first try made."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import insert, select
from sqlalchemy.ext.asyncio import AsyncConnection

from modelzoo.errors import AlreadyExists
from zoo_training.schema import requests

__all__ = ["Request"]


@dataclass(frozen=True, slots=True)
class Request:
    """One request of `subject`. `arguments` are what the caller said, as JSON has it. An empty `id` is never found and
    never kept."""

    subject: str
    action: str
    id: str
    arguments: Mapping[str, Any]

    async def made(self, connection: AsyncConnection) -> str | None:
        """Name of what this request made before, or None. Raises REQUEST_ID_REUSED where it had other arguments."""
        if not self.id:
            return None
        query = select(requests.c.arguments_sha256, requests.c.made).where(
            requests.c.subject == self.subject, requests.c.action == self.action, requests.c.request_id == self.id
        )
        row = (await connection.execute(query)).one_or_none()
        if row is None:
            return None
        if row.arguments_sha256 != self._arguments_sha256():
            raise AlreadyExists(
                "REQUEST_ID_REUSED",
                f"the request_id '{self.id}' was used before, with another request: choose a new one for each request",
                field="request_id",
            )
        return row.made

    async def keep(self, connection: AsyncConnection, made: str) -> None:
        """Remember, in the transaction that makes it, what the request made."""
        if self.id:
            row = {"subject": self.subject, "action": self.action, "request_id": self.id, "made": made}
            await connection.execute(insert(requests).values(arguments_sha256=self._arguments_sha256(), **row))

    def _arguments_sha256(self) -> str:
        return hashlib.sha256(json.dumps(dict(self.arguments), sort_keys=True).encode()).hexdigest()
