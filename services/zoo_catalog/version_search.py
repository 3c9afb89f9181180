"""Finding versions of a model: by filter, in any order, page by page.

Conditions on labels, metrics and bases are answered by indexes of their rows; all others, and every order but that by
number, look at the model's versions and no more. A row's place depends on the row alone, and the number decides between
equal ones: what is written between two pages neither repeats nor hides others.
"""

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from math import inf
from typing import Any

from sqlalchemy import BigInteger, ColumnElement, Row, Select, Table, and_, func, or_, select, type_coerce

from modelzoo import reference as references
from modelzoo.errors import InvalidArgument, ZooError
from zoo_catalog.gates import may_use
from zoo_catalog.models import model_row
from zoo_catalog.names import parse_model
from zoo_catalog.namespaces import seen_by
from zoo_catalog.schema import edges, models, version_labels, version_metrics, versions
from zoo_catalog.versions import Version, VersionState, version_from_row, version_query
from zoo_server.conditions import (
    ChoiceField,
    Field,
    Fields,
    HasField,
    MapField,
    NumberField,
    RealField,
    RowsField,
    TextField,
    TimeField,
    condition_of,
)
from zoo_server.filter import Condition, filter_invalid, parse_filter, path_of
from zoo_server.paging import Page, PageRequest, is_int64, page_of, token_invalid
from zoo_server.principal import Principal
from zoo_store.sql import Database

__all__ = ["VersionSearch", "WantedVersions"]

_ORDERS: Mapping[str, ColumnElement[Any]] = {
    "version": versions.c.version,
    "create_time": type_coerce(versions.c.create_time, BigInteger),
    "update_time": type_coerce(versions.c.update_time, BigInteger),
    "size_bytes": versions.c.size_bytes,
}
NEWEST_FIRST = "version desc"
METRIC = "metrics.<dataset>.<name> or metrics.<dataset>.<split>.<name>"


@dataclass(frozen=True, slots=True)
class WantedVersions:
    """Which versions of a model; those that fulfil the filter, '' being all; with deleted ones or without."""

    model: str
    filter: str = ""
    show_deleted: bool = False


@dataclass(frozen=True, slots=True)
class _Metric:
    """One that was measured with a dataset; split None: with whichever part of it."""

    dataset: str
    split: str | None
    name: str

    @classmethod
    def of(cls, names: tuple[str, ...]) -> "_Metric | None":
        """By what lies behind `metrics.`; None where that names no metric."""
        match names:
            case (dataset, name):
                return cls(dataset, None, name)
            case (dataset, split, name):
                return cls(dataset, split, name)
            case _:
                return None

    def rows(self) -> ColumnElement[bool]:
        own = and_(version_metrics.c.dataset == self.dataset, version_metrics.c.name == self.name)
        return own if self.split is None else and_(own, version_metrics.c.split == self.split)


@dataclass(frozen=True, slots=True)
class _Order:
    """By `value`, then by number, higher ones first."""

    text: str
    value: ColumnElement[Any]
    descending: bool

    def clauses(self) -> tuple[ColumnElement[Any], ...]:
        return (self.value.desc() if self.descending else self.value.asc(), versions.c.version.desc())

    def after(self, last: list[Any]) -> ColumnElement[bool]:
        """What comes behind the row that had this value and number."""
        bound, number = last
        beyond = self.value < bound if self.descending else self.value > bound
        # The first condition is implied; with it the primary key finds the place in the order by number.
        reached = self.value <= bound if self.descending else self.value >= bound
        return and_(reached, or_(beyond, and_(self.value == bound, versions.c.version < number)))


class VersionSearch:
    def __init__(self, database: Database) -> None:
        self._database = database

    async def list(
        self, principal: Principal, wanted: WantedVersions, order_by: str, page: PageRequest
    ) -> Page[Version]:
        """Highest first unless another order is asked for. Of a gated model to whom no access is granted, without
        manifests: with one its files could be read.

        Raises REFERENCE_INVALID, MODEL_NOT_FOUND, FILTER_INVALID, ORDER_BY_INVALID and PAGE_TOKEN_INVALID.
        """
        name = parse_model(wanted.model)
        order = _order(order_by)
        asked = repr((name.casefold(), wanted.filter, wanted.show_deleted, order.text)).encode()
        listing = f"versions {hashlib.sha256(asked).hexdigest()[:16]}"
        last = page.after(listing, list)
        async with self._database.read() as connection:
            owner = await model_row(connection, name)
            query = _matching(owner, wanted, principal).add_columns(order.value.label("position"))
            if last is not None:
                query = query.where(order.after(_checked(last, order)))
            rows = (await connection.execute(query.order_by(*order.clauses()).limit(page.fetch))).all()
        found = page_of(listing, rows, page.size, lambda row: [row.position, row.version])
        shown = tuple(map(version_from_row, found.items))
        if owner.gated and not await may_use(self._database, owner.id, owner.name, principal):
            shown = tuple(replace(version, manifest_digest="") for version in shown)
        return Page(shown, found.next_token)


def _matching(model: Row[Any], wanted: WantedVersions, principal: Principal) -> Select[Any]:
    query = version_query().where(versions.c.model_id == model.id)
    if not wanted.show_deleted:
        query = query.where(versions.c.state != VersionState.DELETED.value)
    tree = parse_filter(wanted.filter)
    return query if tree is None else query.where(condition_of(tree, _fields(model.id, principal)))


def _fields(model_id: int, principal: Principal) -> Fields:
    """Of one model's versions, as `principal` sees them."""

    def where(table: Table) -> Callable[[ColumnElement[bool]], ColumnElement[bool]]:
        """Versions of the model that have a row in the table which fulfils a condition."""
        own = select(table.c.version).where(table.c.model_id == model_id)
        return lambda condition: versions.c.version.in_(own.where(condition))

    labelled, measured = where(version_labels), where(version_metrics)

    def label(names: tuple[str, ...]) -> Field | None:
        own = version_labels.c.name == ".".join(names)
        return RowsField(TextField(version_labels.c.value), lambda condition: labelled(and_(own, condition)))

    def metric(names: tuple[str, ...]) -> Field | None:
        found = _Metric.of(names)
        if found is None:
            return None
        return RowsField(RealField(version_metrics.c.value), lambda condition: measured(and_(found.rows(), condition)))

    made = select(edges.c.child_version).where(edges.c.child_model_id == model_id)
    # What was made from models that the caller may not see is not told.
    made = made.join(models, models.c.id == edges.c.parent_model_id).where(seen_by(principal, models.c.namespace_key))
    return {
        "version": NumberField(versions.c.version),
        "state": ChoiceField(versions.c.state, tuple(state.value for state in VersionState)),
        "size_bytes": NumberField(versions.c.size_bytes),
        "creator": TextField(versions.c.creator),
        "source": TextField(versions.c.source),
        "create_time": TimeField(versions.c.create_time),
        "update_time": TimeField(versions.c.update_time),
        "labels": MapField(
            HasField(lambda name: labelled(version_labels.c.name == name), labelled(version_labels.c.name != "")),
            label,
            "write labels.<name>",
        ),
        "metrics": MapField(
            HasField(
                lambda dataset: measured(version_metrics.c.dataset == dataset), measured(version_metrics.c.name != "")
            ),
            metric,
            f"write {METRIC}, with quotes around what is no word",
        ),
        "base": _BaseField(made),
    }


@dataclass(frozen=True, slots=True)
class _BaseField:
    """What a version was made from: a model, in whatever version, or one version of it. `:*` is for any."""

    made: Select[Any]

    def condition(self, asked: Condition) -> ColumnElement[bool]:
        if asked.operator not in ("=", ":"):
            raise filter_invalid(asked.at, f"base cannot be asked with {asked.operator!r}", "use = or :, perhaps NOT")
        if asked.value == "*" and asked.operator == ":":
            return versions.c.version.in_(self.made)
        try:
            reference = references.parse(asked.value)
        except ZooError as error:
            raise filter_invalid(asked.value_at, error.message, "write namespace/name or namespace/name@3") from error
        of = self.made.where(models.c.key == reference.model.casefold())
        match reference.selector:
            case None:
                return versions.c.version.in_(of)
            case references.Version(number):
                return versions.c.version.in_(of.where(edges.c.parent_version == number))
            case _:
                raise filter_invalid(
                    asked.value_at,
                    "a base is a model or a numbered version",
                    "write namespace/name or namespace/name@3",
                )


def _order(text: str) -> _Order:
    name, _, direction = (text.strip() or NEWEST_FIRST).rpartition(" ")
    if direction not in ("asc", "desc"):
        name, direction = f"{name} {direction}".strip(), "asc"
    descending = direction == "desc"
    name = name.strip()
    value = _ORDERS.get(name)
    if value is None:
        group, *names = path_of(name) or ("",)
        metric = _Metric.of(tuple(names)) if group == "metrics" else None
        if metric is None:
            raise InvalidArgument(
                "ORDER_BY_INVALID",
                f"order_by {text[:80]!a} is not one of {', '.join(_ORDERS)} or {METRIC}, perhaps with ' desc' behind",
                field="order_by",
                metadata={"field": "order_by"},
            )
        value = _best(metric, descending)
    return _Order(f"{name} {direction}", value, descending)


def _best(metric: _Metric, descending: bool) -> ColumnElement[Any]:
    """The version's value, of several the one that comes first; what was not measured comes last."""
    best = func.max if descending else func.min
    measured = (
        select(best(version_metrics.c.value))
        .where(
            version_metrics.c.model_id == versions.c.model_id,
            version_metrics.c.version == versions.c.version,
            metric.rows(),
        )
        .correlate(versions)
    )
    return func.coalesce(measured.scalar_subquery(), -inf if descending else inf)


def _checked(last: list[Any], order: _Order) -> list[Any]:
    """The value and number in a page token, if it holds such."""
    kind = order.value.type.python_type
    if len(last) != 2 or type(last[0]) is not kind or type(last[1]) is not int or not all(map(is_int64, last)):
        raise token_invalid()
    return last
