"""Lists of jobs, newest first: of those namespaces that their reader sees, and by filter."""

import hashlib
from dataclasses import dataclass

from sqlalchemy import ColumnElement, select

from zoo_server.conditions import (
    ChoiceField,
    Field,
    Fields,
    HasField,
    MapField,
    NumberField,
    TextField,
    TimeField,
    condition_of,
)
from zoo_server.filter import Condition, parse_filter
from zoo_server.paging import Page, PageRequest, page_of
from zoo_server.principal import Principal
from zoo_store.sql import Database
from zoo_training.access import seen_by
from zoo_training.job import Job, JobState, job_from_row
from zoo_training.schema import job_labels, jobs

__all__ = ["Listing"]


@dataclass(frozen=True, slots=True)
class LabelField:
    """Of a job without the label nothing is true, whatever is asked."""

    name: str

    def condition(self, asked: Condition) -> ColumnElement[bool]:
        return _labelled(job_labels.c.name == self.name, TextField(job_labels.c.value).condition(asked))


def _labelled(*conditions: ColumnElement[bool]) -> ColumnElement[bool]:
    return jobs.c.id.in_(select(job_labels.c.job_id).where(*conditions))


def _label(names: tuple[str, ...]) -> Field | None:
    return LabelField(names[0]) if len(names) == 1 else None


_FIELDS: Fields = {
    "state": ChoiceField(jobs.c.state, tuple(state.value for state in JobState)),
    "recipe": TextField(jobs.c.recipe),
    "base": TextField(jobs.c.base),
    "dataset": TextField(jobs.c.dataset),
    "output": TextField(jobs.c.output),
    "creator": TextField(jobs.c.creator),
    "sweep": TextField(jobs.c.sweep),
    "resource_class": TextField(jobs.c.resource_class),
    "priority": NumberField(jobs.c.priority),
    "create_time": TimeField(jobs.c.create_time),
    "labels": MapField(
        HasField(lambda name: _labelled(job_labels.c.name == name), _labelled(job_labels.c.name != "")),
        _label,
        "write labels.<name>, with quotes around what is no word",
    ),
}


class Listing:
    def __init__(self, database: Database) -> None:
        self._database = database

    async def list(self, principal: Principal, namespace: str, filter: str, page: PageRequest) -> Page[Job]:
        """Jobs of the namespace, '' of all, that `principal` sees and that fulfil the filter.

        Raises FILTER_INVALID and PAGE_TOKEN_INVALID.
        """
        asked = hashlib.sha256(repr((namespace.casefold(), filter)).encode()).hexdigest()[:16]
        listing = f"jobs {asked}"
        last = page.after(listing, int)
        query = select(jobs).where(seen_by(principal, jobs.c.namespace_key))
        if namespace:
            query = query.where(jobs.c.namespace_key == namespace.casefold())
        if last is not None:
            query = query.where(jobs.c.id < last)
        tree = parse_filter(filter)
        if tree is not None:
            query = query.where(condition_of(tree, _FIELDS))
        async with self._database.read() as connection:
            rows = (await connection.execute(query.order_by(jobs.c.id.desc()).limit(page.fetch))).all()
        found = page_of(listing, rows, page.size, lambda row: row.id)
        return Page(tuple(map(job_from_row, found.items)), found.next_token)
