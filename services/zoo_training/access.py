"""Who may see a job, and who may decide about it: it belongs to the namespace of its output."""

from typing import Any

from sqlalchemy import ColumnElement, true

from modelzoo.errors import NotFound, PermissionDenied
from zoo_server.principal import EVERYWHERE, Principal, Role

__all__ = ["check_role", "job_not_found", "seen_by"]

SHOWN_CHARACTERS = 64


def job_not_found(name: str) -> NotFound:
    return NotFound(
        "JOB_NOT_FOUND",
        f"there is no job {name[:SHOWN_CHARACTERS]!a}, or none that you may see: list jobs, or ask an admin for a role",
    )


def check_role(principal: Principal, role: Role, namespace: str, not_found: NotFound) -> None:
    """Return where `principal` has the role. Raises `not_found` where it has none at all, else ROLE_MISSING."""
    held = principal.role_in(namespace)
    if held is None:
        raise not_found
    if held < role:
        needed = role.name.lower()
        raise PermissionDenied(
            "ROLE_MISSING",
            f"{principal.subject} needs the role {needed} in namespace '{namespace}': ask one of its admins for it",
            metadata={"namespace": namespace, "role": needed},
        )


def seen_by(principal: Principal, namespace_key: ColumnElement[Any]) -> ColumnElement[bool]:
    """The condition that `principal` has a role in the row's namespace."""
    if EVERYWHERE in principal.roles:
        return true()
    return namespace_key.in_(sorted(name.casefold() for name in principal.roles))
