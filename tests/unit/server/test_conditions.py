"""Filters as SQL select the rows that Python's own logic selects."""

from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import Column, Connection, Integer, MetaData, String, Table, create_engine, insert, select

from zoo_server.conditions import NumberField, TextField, condition_of
from zoo_server.filter import parse_filter

ROWS = [
    {"name": "a1", "task": "a", "size": 1},
    {"name": "A%", "task": "a", "size": 2},
    {"name": "b_", "task": "b", "size": 3},
    {"name": "bx", "task": "", "size": 4},
]
TRUTHS: Mapping[str, Any] = {
    "task = a": lambda row: row["task"] == "a",
    "task != b": lambda row: row["task"] != "b",
    "name = a*": lambda row: row["name"].lower().startswith("a"),
    "name:_": lambda row: "_" in row["name"],
    "name = *%": lambda row: row["name"].endswith("%"),
    "size < 3": lambda row: row["size"] < 3,
    "size >= 2": lambda row: row["size"] >= 2,
}

table = Table("t", MetaData(), Column("name", String), Column("task", String), Column("size", Integer))
FIELDS = {"name": TextField(table.c.name), "task": TextField(table.c.task), "size": NumberField(table.c.size)}


@pytest.fixture(scope="module")
def connection() -> Any:
    engine = create_engine("sqlite://")
    with engine.connect() as connection:
        table.metadata.create_all(connection)
        connection.execute(insert(table), ROWS)
        yield connection
    engine.dispose()


# A filter, and the same as a function of a row.
Case = tuple[str, Any]
ATOMS = st.sampled_from(sorted(TRUTHS)).map(lambda text: (text, TRUTHS[text]))


def negated(case: Case) -> Case:
    return f"NOT ({case[0]})", lambda row: not case[1](row)


def joined(parts: tuple[Case, str, Case]) -> Case:
    (left, is_left), word, (right, is_right) = parts
    if word == "OR":
        return f"({left}) OR ({right})", lambda row: is_left(row) or is_right(row)
    return f"({left}) {word} ({right})", lambda row: is_left(row) and is_right(row)


CASES = st.recursive(
    ATOMS,
    lambda inner: st.one_of(
        inner.map(negated), st.tuples(inner, st.sampled_from(["AND", "", "OR"]), inner).map(joined)
    ),
    max_leaves=6,
)


@given(CASES)
def test_filters_say_what_their_logic_says(connection: Connection, case: Case) -> None:
    text, holds = case
    tree = parse_filter(text)
    assert tree is not None
    found = connection.execute(select(table.c.name).where(condition_of(tree, FIELDS))).scalars().all()
    assert found == [row["name"] for row in ROWS if holds(row)]
