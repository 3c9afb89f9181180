"""The one log of everything that changed the catalog, in order: who did what, and what it was before and after.

It is written in the transaction of the change itself: what is not in it did not happen. No secret enters it. What a
change is of, and who may see it, follow from its action and resource:

    namespace, namespace/name, namespace/name@version, namespace/name@alias       viewers of the namespace
    namespace:subject, and actions on grants and requests for access              admins of the namespace
    key_..., *:subject, anything else                                             admins of the cluster
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncConnection

from zoo_catalog.schema import changes
from zoo_server.call import current_principal
from zoo_server.principal import Role
from zoo_store.sql import now, ordered_append

__all__ = ["Change", "Scope", "State", "append", "current_time", "scope_of"]

# What a resource said, as JSON.
State = Mapping[str, Any]

_PART = r"[A-Za-z0-9][A-Za-z0-9._-]{0,95}"
_RESOURCE = re.compile(rf"(?P<namespace>{_PART})(?:/(?P<model>{_PART}))?(?P<rest>[@:#/].*)?", re.DOTALL)
# A key's name could also be a namespace's.
_OF_A_KEY = re.compile(r"[A-Za-z]*Keys?")
_FOR_ADMINS = re.compile(r"[A-Za-z]*(Grant|Access)[A-Za-z]*")


@dataclass(frozen=True, slots=True)
class Change:
    """`sequence` is also the etag of the resource that changed, `time` its time, by the database's clock."""

    sequence: int
    time: datetime


@dataclass(frozen=True, slots=True)
class Scope:
    """What a change is of, case-folded, and the least role there that sees it; without a namespace in the cluster."""

    namespace_key: str | None
    model_key: str | None
    role: Role


def scope_of(action: str, resource: str) -> Scope:
    """Where in doubt, only the cluster's admins see it."""
    found = _RESOURCE.fullmatch(resource)
    if found is None or _OF_A_KEY.fullmatch(action):
        return Scope(None, None, Role.ADMIN)
    namespace = found["namespace"].casefold()
    model = f"{namespace}/{found['model'].casefold()}" if found["model"] else None
    of_a_subject = model is None and found["rest"] is not None
    for_admins = of_a_subject or _FOR_ADMINS.fullmatch(action)
    return Scope(namespace, model, Role.ADMIN if for_admins else Role.VIEWER)


async def append(
    connection: AsyncConnection,
    actor: str,
    action: str,
    resource: str,
    *,
    before: State | None = None,
    after: State | None = None,
) -> Change:
    """Record what the transaction changes, and what the call that is being served says of for whom. `before` None: it
    did not exist; `after` None: it no longer does."""
    behalf = current_principal().behalf
    time = await current_time(connection)
    scope = scope_of(action, resource)
    row = {
        "time": time,
        "actor": actor,
        "action": action,
        "resource": resource,
        "before": before,
        "after": after,
        "namespace_key": scope.namespace_key,
        "model_key": scope.model_key,
        "role": int(scope.role),
        "on_behalf_of": behalf.subject if behalf else "",
        "cause": behalf.cause if behalf else "",
    }
    return Change(await ordered_append(connection, changes, row), time)


async def current_time(connection: AsyncConnection) -> datetime:
    """The database's."""
    return (await connection.execute(select(now()))).scalar_one()
