"""The one table method -> rule, and its enforcement. A method without a rule is refused at start.

Each service declares its part of the table; `zoo_server.server.build` checks that it is complete.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any

from modelzoo.errors import PermissionDenied, ZooError
from zoo_server.principal import Principal, Role

__all__ = ["Needs", "Only", "Open", "Rule", "Rules", "enforce"]


class Open(Enum):
    """Rules without a role."""

    TO_ALL = "no credential needed"
    TO_ENVOY = "the proxy's own protocol, handed to its handler as it is: it carries the credential to be checked"
    TO_AUTHENTICATED = "any valid credential; the method shows each caller what it may see"


@dataclass(frozen=True, slots=True)
class Needs:
    """The role that every namespace named by the message requires.

    `namespaces` reads them from a request message (of a stream: from each; none for those that name none).
    Where the caller has no role at all in one of them, `hidden` makes the error, so that what exists there cannot be
    probed; without it that is PERMISSION_DENIED too.
    """

    role: Role
    namespaces: Callable[[Any], Iterable[str]]
    hidden: Callable[[Any], ZooError] | None = None


@dataclass(frozen=True, slots=True)
class Only:
    """One subject alone, whatever its roles, and nobody else, whatever theirs: what services say to each other."""

    subject: str


Rule = Open | Needs | Only
# Keys are full method names: `/zoo.catalog.v1.CatalogService/GetModel`.
Rules = Mapping[str, Rule]


def enforce(rule: Rule, principal: Principal, message: Any) -> None:
    """Return if `principal` may send `message`, else raise PermissionDenied ROLE_MISSING or the hidden error."""
    if isinstance(rule, Open):
        return
    if isinstance(rule, Only):
        if principal.subject != rule.subject:
            raise PermissionDenied(
                "ROLE_MISSING",
                f"this method is for {rule.subject} alone, and {principal.subject} called it: use another method",
                metadata={"subject": rule.subject},
            )
        return
    for namespace in rule.namespaces(message):
        held = principal.role_in(namespace)
        if held is not None and held >= rule.role:
            continue
        if held is None and rule.hidden is not None:
            raise rule.hidden(message)
        needed = rule.role.name.lower()
        where = "the cluster (namespace '*')" if namespace == "*" else f"namespace '{namespace}'"
        raise PermissionDenied(
            "ROLE_MISSING",
            f"{principal.subject} needs the role {needed} in {where}: ask one of its admins for a grant",
            metadata={"namespace": namespace, "role": needed},
        )
