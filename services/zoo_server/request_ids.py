"""What request ids were used for (AIP-155), so that a retry finds what its first try made.

An id belongs to its caller and one kind of request; neither can be met by another's.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from sqlalchemy import Table, insert, select
from sqlalchemy.ext.asyncio import AsyncConnection

from modelzoo.errors import AlreadyExists

__all__ = ["KeptRequest"]


@dataclass(frozen=True, slots=True)
class KeptRequest:
    """One request of `subject`. `arguments` are what the caller said, as JSON has it. An empty `id` is never found and
    never kept.

    A service derives one that names its `table`: subject, action, request_id, arguments_sha256 and made.
    """

    table: ClassVar[Table]

    subject: str
    action: str
    id: str
    arguments: Mapping[str, Any]

    async def made(self, connection: AsyncConnection) -> str | None:
        """What this request made before, or None. Raises REQUEST_ID_REUSED where it had other arguments."""
        if not self.id:
            return None
        kept = self.table.c
        query = select(kept.arguments_sha256, kept.made).where(
            kept.subject == self.subject, kept.action == self.action, kept.request_id == self.id
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
            await connection.execute(insert(self.table).values(arguments_sha256=self._arguments_sha256(), **row))

    def _arguments_sha256(self) -> str:
        return hashlib.sha256(json.dumps(dict(self.arguments), sort_keys=True).encode()).hexdigest()
