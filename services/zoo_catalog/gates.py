"""Gated models: who asked to use them, and what was decided.

A reference of a gated model resolves for publishers of its namespace, for subjects with an approved request, and for
services, which act for others and have to ask for each of them (`Gates.check`).
"""

from dataclasses import dataclass
from datetime import datetime
from enum import Enum
from typing import Any

from sqlalchemy import Row, Select, insert, or_, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from modelzoo.errors import FailedPrecondition, NotFound, PermissionDenied
from zoo_catalog import changes
from zoo_catalog.etags import check_etag
from zoo_catalog.models import model_row
from zoo_catalog.names import namespace_of, parse_model
from zoo_catalog.namespaces import seen_by
from zoo_catalog.schema import access_requests, models
from zoo_server.paging import Page, PageRequest, page_of
from zoo_server.principal import EVERYWHERE, Principal, Role
from zoo_store.sql import Database

__all__ = ["AccessRequest", "AccessState", "Gates", "is_granted", "not_granted", "passes_gates"]

# Subjects of the services of the zoo; a role in `*` is given by admins of the cluster alone.
SERVICE_PREFIX = "service:"
# Sorts between a model's key and its subjects; stands in neither.
SEPARATOR = " "


class AccessState(Enum):
    """By the names of zoo.catalog.v1.AccessState."""

    PENDING = "PENDING"
    APPROVED = "APPROVED"
    DENIED = "DENIED"
    REVOKED = "REVOKED"


# What a request may be decided to be, from each state.
_DECISIONS = {
    AccessState.PENDING: (AccessState.APPROVED, AccessState.DENIED),
    AccessState.APPROVED: (AccessState.REVOKED,),
    AccessState.DENIED: (AccessState.APPROVED,),
    AccessState.REVOKED: (AccessState.APPROVED,),
}


@dataclass(frozen=True, slots=True)
class AccessRequest:
    """`decider` and `decision_reason` are '' while nobody has decided."""

    model: str
    subject: str
    reason: str
    state: AccessState
    decider: str
    decision_reason: str
    create_time: datetime
    update_time: datetime
    etag: str


class Gates:
    def __init__(self, database: Database) -> None:
        self._database = database

    async def request(self, model: str, reason: str, subject: str) -> AccessRequest:
        """Ask for the subject; what is undecided or approved stays as it is.

        Raises REFERENCE_INVALID, MODEL_NOT_FOUND and MODEL_NOT_GATED.
        """
        path = parse_model(model)
        async with self._database.write() as connection:
            row = await model_row(connection, path)
            if not row.gated:
                raise FailedPrecondition("MODEL_NOT_GATED", f"'{row.name}' is not gated: use it without asking")
            before = await _find(connection, row.id, subject)
            if before is not None and before.state in (AccessState.PENDING, AccessState.APPROVED):
                return before
            state = AccessState.PENDING
            after = {"state": state.value, "reason": reason}
            change = await changes.append(
                connection, subject, "RequestAccess", _resource(row.name, subject), before=_state(before), after=after
            )
            asked = {"reason": reason, "state": state.value, "decider": "", "decision_reason": ""}
            stamps = {"update_time": change.time, "etag": change.sequence}
            if before is None:
                own = {"model_id": row.id, "subject": subject, "create_time": change.time}
                await connection.execute(insert(access_requests).values({**own, **asked, **stamps}))
            else:
                await connection.execute(_update(row.id, subject).values({**asked, **stamps}))
            return await _get(connection, row, subject)

    async def list(
        self, principal: Principal, model: str, state: AccessState | None, page: PageRequest
    ) -> Page[AccessRequest]:
        """The principal's own, and those that it may decide; of one model or ('') of all, by model and subject.

        Raises REFERENCE_INVALID and PAGE_TOKEN_INVALID.
        """
        path = parse_model(model) if model else ""
        listing = f"access {path.casefold()} {state.value if state else ''}"
        order = models.c.key + SEPARATOR + access_requests.c.subject
        query = _query().where(
            or_(access_requests.c.subject == principal.subject, _decides(principal)),
            # What it may not see is not there, whatever it asked for once.
            seen_by(principal, models.c.namespace_key),
        )
        if path:
            query = query.where(models.c.key == path.casefold())
        if state is not None:
            query = query.where(access_requests.c.state == state.value)
        if (after := page.after(listing, str)) is not None:
            query = query.where(order > after)
        async with self._database.read() as connection:
            rows = (await connection.execute(query.order_by(order).limit(page.fetch))).all()
        return page_of(listing, map(_from_row, rows), page.size, _order)

    async def decide(
        self, model: str, subject: str, decision: AccessState, reason: str, etag: str, actor: str
    ) -> AccessRequest:
        """Raises MODEL_NOT_FOUND, ACCESS_REQUEST_NOT_FOUND, ETAG_MISMATCH, ACCESS_STATE_INVALID."""
        path = parse_model(model)
        async with self._database.write() as connection:
            row = await model_row(connection, path)
            before = await _get(connection, row, subject)
            check_etag(etag, before.etag, f"the access request of {subject} for '{row.name}'")
            if decision not in _DECISIONS[before.state]:
                raise FailedPrecondition(
                    "ACCESS_STATE_INVALID",
                    f"the access request of {subject} for '{row.name}' is {before.state.value} and cannot become "
                    f"{decision.value}: list access requests to see where they stand",
                    metadata={"state": before.state.value},
                )
            after = {"state": decision.value, "reason": before.reason, "decision_reason": reason}
            change = await changes.append(
                connection, actor, "DecideAccess", _resource(row.name, subject), before=_state(before), after=after
            )
            decided = {"state": decision.value, "decider": actor, "decision_reason": reason}
            stamps = {"update_time": change.time, "etag": change.sequence}
            await connection.execute(_update(row.id, subject).values({**decided, **stamps}))
            return await _get(connection, row, subject)

    async def check(self, model: str, subject: str) -> PermissionDenied | None:
        """How the subject is refused; None where the gate, if there is one, is open for it.

        Raises REFERENCE_INVALID and MODEL_NOT_FOUND."""
        path = parse_model(model)
        async with self._database.read() as connection:
            row = await model_row(connection, path)
            if not row.gated or await is_granted(connection, row.id, subject):
                return None
            return _refusal(row.name, await _find(connection, row.id, subject))


def passes_gates(principal: Principal, namespace: str) -> bool:
    """Whether no request is needed for models of the namespace."""
    is_service = principal.subject.startswith(SERVICE_PREFIX) and EVERYWHERE in principal.roles
    return is_service or principal.has(Role.PUBLISHER, namespace)


async def is_granted(connection: AsyncConnection, model_id: int, subject: str) -> bool:
    request = await _find(connection, model_id, subject)
    return request is not None and request.state is AccessState.APPROVED


async def may_use(database: Database, model_id: int, model: str, principal: Principal) -> bool:
    """Whether a gated model, `model` being its name, is one that `principal` may use."""
    if passes_gates(principal, namespace_of(model)):
        return True
    async with database.read() as connection:
        return await is_granted(connection, model_id, principal.subject)


async def not_granted(database: Database, model_id: int, model: str, principal: Principal) -> PermissionDenied:
    """The refusal of a gated model, which says how the principal's own request stands."""
    async with database.read() as connection:
        return _refusal(model, await _find(connection, model_id, principal.subject))


def _refusal(model: str, request: AccessRequest | None) -> PermissionDenied:
    if request is None:
        says = "request access, and wait until one of its publishers approves"
        return PermissionDenied(
            "ACCESS_NOT_GRANTED", f"the model '{model}' is gated: {says}", metadata={"model": model}
        )
    why = f" ({request.decision_reason})" if request.decision_reason else ""
    says = {
        AccessState.DENIED: f"your request was denied{why}: ask its publishers why, or request access again",
        AccessState.REVOKED: f"your access was revoked{why} and is over: ask its publishers, or request access again",
    }.get(request.state, "your request waits for one of its publishers to approve it")
    return PermissionDenied(
        "ACCESS_NOT_GRANTED",
        f"the model '{model}' is gated, and {says}",
        metadata={"model": model, "state": request.state.value},
    )


def _decides(principal: Principal) -> Any:
    return seen_by(principal, models.c.namespace_key, Role.PUBLISHER)


def _query() -> Select[Any]:
    return (
        select(access_requests, models.c.name.label("model"))
        .join(models, models.c.id == access_requests.c.model_id)
        .where(models.c.delete_time.is_(None))
    )


async def _find(connection: AsyncConnection, model_id: int, subject: str) -> AccessRequest | None:
    query = _query().where(access_requests.c.model_id == model_id, access_requests.c.subject == subject)
    row = (await connection.execute(query)).one_or_none()
    return None if row is None else _from_row(row)


async def _get(connection: AsyncConnection, model: Row[Any], subject: str) -> AccessRequest:
    found = await _find(connection, model.id, subject)
    if found is None:
        raise NotFound(
            "ACCESS_REQUEST_NOT_FOUND",
            f"{subject} has no access request for '{model.name}': list access requests to see who asked",
        )
    return found


def _update(model_id: int, subject: str) -> Any:
    return update(access_requests).where(access_requests.c.model_id == model_id, access_requests.c.subject == subject)


def _order(request: AccessRequest) -> str:
    return request.model.casefold() + SEPARATOR + request.subject


def _resource(model: str, subject: str) -> str:
    return f"{model}:{subject}"


def _state(request: AccessRequest | None) -> changes.State | None:
    if request is None:
        return None
    return {"state": request.state.value, "reason": request.reason, "decision_reason": request.decision_reason}


def _from_row(row: Row[Any]) -> AccessRequest:
    return AccessRequest(
        model=row.model,
        subject=row.subject,
        reason=row.reason,
        state=AccessState(row.state),
        decider=row.decider,
        decision_reason=row.decision_reason,
        create_time=row.create_time,
        update_time=row.update_time,
        etag=str(row.etag),
    )
