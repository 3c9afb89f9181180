"""Finding models: by filter, by words, in any order, page by page; and how many there are of each kind.

Words are looked for in names, tags, descriptions and cards. The most relevant come first: those that have all words in
their names, then in names and tags, then with descriptions too, then anywhere; within each, by name. So a row's place
depends on the row alone, and what is written between two pages neither repeats nor hides others.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

from sqlalchemy import BigInteger, ColumnElement, Select, and_, case, func, literal, or_, select, type_coerce

from modelzoo.errors import InvalidArgument
from zoo_catalog.models import Model, model_from_row
from zoo_catalog.namespaces import seen_by
from zoo_catalog.schema import model_tags, model_text, models, namespaces
from zoo_server.conditions import Fields, FlagField, HasField, NumberField, TextField, TimeField, condition_of
from zoo_server.filter import parse_filter
from zoo_server.paging import Page, PageRequest, is_int64, page_of, token_invalid
from zoo_server.principal import Principal
from zoo_store.sql import Database
from zoo_store.text_index import words_of

__all__ = ["Count", "Counts", "Search", "Wanted"]

# Of each kind; what is rarer is not told.
COUNTS_MAX = 100
RELEVANCE = "relevance"

_ORDERS: Mapping[str, ColumnElement[Any]] = {
    "name": models.c.key,
    "task": models.c.task,
    "licence": models.c.licence,
    "architecture": models.c.architecture,
    "latest_version": models.c.latest_version,
    "parameters": models.c.parameters,
    "size_bytes": models.c.size_bytes,
    "create_time": type_coerce(models.c.create_time, BigInteger),
    "update_time": type_coerce(models.c.update_time, BigInteger),
}


def _has_tag(tag: str) -> ColumnElement[bool]:
    return models.c.id.in_(select(model_tags.c.model_id).where(model_tags.c.tag == tag))


_FIELDS: Fields = {
    "name": TextField(models.c.key, folded=True),
    "namespace": TextField(models.c.namespace_key, folded=True),
    "kind": TextField(func.lower(models.c.kind), folded=True),
    "owner": TextField(models.c.owner),
    "gated": FlagField(models.c.gated),
    "description": TextField(models.c.description),
    "card": TextField(models.c.card),
    "task": TextField(models.c.task),
    "licence": TextField(models.c.licence),
    "architecture": TextField(models.c.architecture),
    "tags": HasField(_has_tag, models.c.id.in_(select(model_tags.c.model_id))),
    "latest_version": NumberField(models.c.latest_version),
    "parameters": NumberField(models.c.parameters),
    "size_bytes": NumberField(models.c.size_bytes),
    "create_time": TimeField(models.c.create_time),
    "update_time": TimeField(models.c.update_time),
}

_COLUMNS_BUT_CARD = [column for column in models.c if column is not models.c.card]


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which models, '' being all: of one namespace, that fulfil the filter, that have all words of the query; with
    deleted ones that can be undeleted or without.
    """

    namespace: str = ""
    filter: str = ""
    query: str = ""
    show_deleted: bool = False


@dataclass(frozen=True, slots=True)
class Count:
    """So many models say `value`; '' where they say nothing."""

    value: str
    models: int


@dataclass(frozen=True, slots=True)
class Counts:
    """The most frequent values first, at most 100 of each kind."""

    total: int
    tasks: tuple[Count, ...]
    architectures: tuple[Count, ...]
    licences: tuple[Count, ...]
    namespaces: tuple[Count, ...]


@dataclass(frozen=True, slots=True)
class _Order:
    """By `value`, then by key."""

    text: str
    value: ColumnElement[Any]
    descending: bool

    def clauses(self) -> Sequence[ColumnElement[Any]]:
        value = self.value.desc() if self.descending else self.value.asc()
        return (models.c.key,) if self.value is models.c.key and not self.descending else (value, models.c.key)

    def after(self, last: list[Any]) -> ColumnElement[bool]:
        """What comes behind the row that had this value and key."""
        bound, key = last
        beyond = self.value < bound if self.descending else self.value > bound
        # The first condition is implied; with it an index finds the place.
        reached = self.value <= bound if self.descending else self.value >= bound
        return and_(reached, or_(beyond, models.c.key > key))


class Search:
    def __init__(self, database: Database) -> None:
        self._database = database

    async def list(self, principal: Principal, wanted: Wanted, order_by: str, page: PageRequest) -> Page[Model]:
        """Those that `principal` may see, without cards; ordered by relevance where words are asked, else by name.

        Raises FILTER_INVALID, QUERY_INVALID, ORDER_BY_INVALID, PAGE_TOKEN_INVALID.
        """
        words = _words(wanted.query)
        order = _order(order_by, words)
        listing = (
            f"models {[wanted.namespace.casefold(), wanted.filter, wanted.query, order.text, wanted.show_deleted]}"
        )
        last = page.after(listing, list)
        query = _matching(
            select(*_COLUMNS_BUT_CARD, literal("").label("card"), order.value.label("position")), principal, wanted
        )
        if last is not None:
            query = query.where(order.after(_checked(last, order)))
        async with self._database.read() as connection:
            rows = (await connection.execute(query.order_by(*order.clauses()).limit(page.fetch))).all()
        found = page_of(listing, rows, page.size, lambda row: [row.position, row.key])
        return Page(tuple(map(model_from_row, found.items)), found.next_token)

    async def count(self, principal: Principal, wanted: Wanted) -> Counts:
        """How many models there are that `list` would give, and how many of each kind. Raises as `list` does."""
        async with self._database.read() as connection:

            async def counted(column: ColumnElement[str]) -> tuple[Count, ...]:
                number = func.count().label("number")
                named = cast(Select[Any], select(column.label("value"), number))
                query = _matching(named, principal, wanted).group_by(column)
                rows = await connection.execute(query.order_by(number.desc(), column).limit(COUNTS_MAX))
                return tuple(Count(row.value, row.number) for row in rows)

            total = (await connection.execute(_matching(select(func.count()), principal, wanted))).scalar_one()
            names = {row.key: row.name for row in await connection.execute(select(namespaces.c.key, namespaces.c.name))}
            return Counts(
                total=total,
                tasks=await counted(models.c.task),
                architectures=await counted(models.c.architecture),
                licences=await counted(models.c.licence),
                namespaces=tuple(
                    Count(names[count.value], count.models) for count in await counted(models.c.namespace_key)
                ),
            )


def _matching(query: Select[Any], principal: Principal, wanted: Wanted) -> Select[Any]:
    query = query.select_from(models).where(seen_by(principal, models.c.namespace_key))
    shown = models.c.purged.is_(False) if wanted.show_deleted else models.c.delete_time.is_(None)
    query = query.where(shown)
    if wanted.namespace:
        query = query.where(models.c.namespace_key == wanted.namespace.casefold())
    if words := _words(wanted.query):
        query = query.where(model_text.has_words(models.c.id, words))
    tree = parse_filter(wanted.filter)
    return query if tree is None else query.where(condition_of(tree, _FIELDS))


def _words(query: str) -> tuple[str, ...]:
    words = words_of(query)
    if query.strip() and not words:
        raise InvalidArgument(
            "QUERY_INVALID", f"the query {query[:80]!a} has no words: give letters or digits", field="query"
        )
    return words


def _order(text: str, words: tuple[str, ...]) -> _Order:
    name, _, direction = (text.strip() or (RELEVANCE if words else "name")).partition(" ")
    direction = direction.strip()
    if name == RELEVANCE and words and not direction:
        # As many of the columns as are needed to find all words; fewer are better.
        needed = [(model_text.has_words(models.c.id, words, count), literal(count)) for count in (1, 2, 3)]
        return _Order(RELEVANCE, case(*needed, else_=literal(4)), descending=False)
    if name not in _ORDERS or direction not in ("", "asc", "desc"):
        raise InvalidArgument(
            "ORDER_BY_INVALID",
            f"order_by {text[:80]!a} is not one of {', '.join(_ORDERS)}, perhaps with ' desc' behind it"
            + ("" if words else f"; {RELEVANCE} needs a query"),
            field="order_by",
            metadata={"field": "order_by"},
        )
    return _Order(f"{name} {direction or 'asc'}", _ORDERS[name], direction == "desc")


def _checked(last: list[Any], order: _Order) -> list[Any]:
    """The value and key in a page token, if it holds such."""
    kind = order.value.type.python_type
    if len(last) != 2 or type(last[0]) is not kind or type(last[1]) is not str or not is_int64(last[0]):
        raise token_invalid()
    return last
