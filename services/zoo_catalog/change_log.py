"""Reading the log of changes: from a cursor, and on as it grows, or page by page."""

import asyncio
import hashlib
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import datetime
from enum import Enum
from typing import Any

from sqlalchemy import ColumnElement, Select, bindparam, func, select

from modelzoo.errors import OutOfRange, Unavailable
from zoo_catalog.change_query import ChangeFilter, Entry, check_visible, entry_from_row, matching, visible_to
from zoo_catalog.feed import ChangeFeed
from zoo_catalog.schema import changes
from zoo_server.paging import Page, PageRequest, page_of
from zoo_server.principal import Principal
from zoo_store.sql import Database

__all__ = ["ChangeLog", "Listed", "Order", "Reached", "Span"]

# So often a watcher that has come to the end of the log hears that it has.
HEARTBEAT_S = 5.0
# The roles of a watcher are looked up when it begins; a key that is revoked works for no longer than this.
WATCH_S = 300.0
# What a watcher holds in memory, and what one query looks at: whatever the filter, none holds a connection for long.
PAGE_ROWS = 100
SCAN_ROWS = 20_000

_ENDS: Select[Any] = select(  # pyright: ignore[reportAssignmentType] - two columns, of any type
    select(func.min(changes.c.sequence)).scalar_subquery().label("first"),
    select(func.max(changes.c.sequence)).scalar_subquery().label("last"),
)


class Order(Enum):
    NEWEST_FIRST = 1
    OLDEST_FIRST = 2


@dataclass(frozen=True, slots=True)
class Span:
    """From `start` until before `end`; None: without a bound."""

    start: datetime | None = None
    end: datetime | None = None


@dataclass(frozen=True, slots=True)
class Reached:
    """Every wanted entry up to this sequence has been given."""

    sequence: int


@dataclass(frozen=True, slots=True)
class Listed:
    """A page of the log, and the log's end when it was read."""

    page: Page[Entry]
    end: int


class ChangeLog:
    def __init__(
        self, database: Database, feed: ChangeFeed, *, heartbeat_s: float = HEARTBEAT_S, watch_s: float = WATCH_S
    ) -> None:
        self._database = database
        self._feed = feed
        self._heartbeat_s = heartbeat_s
        self._watch_s = watch_s

    async def watch(
        self, principal: Principal, wanted: ChangeFilter, after: int | None, *, follow: bool
    ) -> AsyncIterator[Entry | Reached]:
        """Every entry after the cursor (None: after the present end) that is wanted and that `principal` may see, in
        order, each once; then `Reached`. That is all, unless `follow`: then entries as they come, and `Reached`
        whenever there are no more, at least every `heartbeat_s`.

        Raises CURSOR_INVALID, NAMESPACE_NOT_FOUND, MODEL_NOT_FOUND, REFERENCE_INVALID; with `follow` ends with
        WATCH_EXPIRED or DRAINING.
        """
        check_visible(principal, wanted)
        query = _scan([*matching(wanted), *visible_to(principal)])
        clock = asyncio.get_running_loop().time
        expires = clock() + self._watch_s
        end = await self._feed.look()
        cursor = end if after is None else await self._checked(after)
        while True:
            while cursor < end:
                self._feed.check()
                until = min(end, cursor + SCAN_ROWS)
                rows = await self._database.fetch(query, {"after": cursor, "until": until})
                for row in rows:
                    yield entry_from_row(row, principal)
                cursor = rows[-1].sequence if len(rows) == PAGE_ROWS else until
            yield Reached(cursor)
            if not follow:
                return
            if clock() > expires:
                raise Unavailable(
                    "WATCH_EXPIRED", "this watch has lasted long enough: watch again from its cursor", retry_after_s=0.1
                )
            await self._feed.beyond(cursor, self._heartbeat_s)
            end = self._feed.end

    async def list(
        self, principal: Principal, wanted: ChangeFilter, span: Span, order: Order, page: PageRequest
    ) -> Listed:
        """What is wanted and `principal` may see, of that time.

        Raises NAMESPACE_NOT_FOUND, MODEL_NOT_FOUND, REFERENCE_INVALID and PAGE_TOKEN_INVALID.
        """
        check_visible(principal, wanted)
        asked = repr((wanted, span, order.name)).encode()
        listing = f"changes {hashlib.sha256(asked).hexdigest()[:16]}"
        last = page.after(listing, int)
        query = select(changes).where(*matching(wanted), *visible_to(principal), *_in_span(span))
        if order is Order.OLDEST_FIRST:
            query = query.where(changes.c.sequence > (last or 0)).order_by(changes.c.sequence)
        else:
            query = query.order_by(changes.c.sequence.desc())
            query = query if last is None else query.where(changes.c.sequence < last)
        # The page has nothing beyond it: whoever watches from here is told the rest, and nothing twice.
        end = await self._feed.look()
        rows = await self._database.fetch(query.where(changes.c.sequence <= end).limit(page.fetch), {})
        entries = [entry_from_row(row, principal) for row in rows]
        return Listed(page_of(listing, entries, page.size, lambda entry: entry.sequence), end)

    async def _checked(self, after: int) -> int:
        """The cursor, if the log can go on from it. Raises CURSOR_INVALID."""
        [ends] = await self._database.fetch(_ENDS, {})
        first, last = ends.first or 1, ends.last or 0
        # 0 is always the beginning of what is kept, whatever number that has.
        if after and not first - 1 <= after <= last:
            what = "before the first change that is kept" if after < first else "after the last change"
            raise OutOfRange(
                "CURSOR_INVALID",
                f"the cursor {after} lies {what}: read the state anew, and begin with 0 or at the end",
                metadata={"first": str(first), "last": str(last)},
                field="after_sequence",
            )
        return after


def _scan(conditions: list[ColumnElement[bool]]) -> Select[Any]:
    """The first rows after :after, up to :until."""
    between = (changes.c.sequence > bindparam("after"), changes.c.sequence <= bindparam("until"))
    return select(changes).where(*between, *conditions).order_by(changes.c.sequence).limit(PAGE_ROWS)


def _in_span(span: Span) -> list[ColumnElement[bool]]:
    conditions: list[ColumnElement[bool]] = []
    if span.start is not None:
        conditions.append(changes.c.time >= span.start)
    if span.end is not None:
        conditions.append(changes.c.time < span.end)
    return conditions
