"""Filters as conditions of SQL: what the fields of a listing are, and which values and operators each of them takes."""

import difflib
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, time
from operator import eq, ge, gt, le, lt, ne
from typing import Any, Protocol

from sqlalchemy import ColumnElement, and_, func, not_, or_, true

from modelzoo.errors import InvalidArgument
from zoo_server.filter import Condition, Conjunction, Disjunction, Filter, Negation, filter_invalid, path_of

__all__ = [
    "ChoiceField",
    "Field",
    "Fields",
    "FlagField",
    "HasField",
    "MapField",
    "NumberField",
    "RealField",
    "RowsField",
    "TextField",
    "TimeField",
    "condition_of",
]

_COMPARISONS: Mapping[str, Callable[[Any, Any], Any]] = {"=": eq, "!=": ne, "<": lt, "<=": le, ">": gt, ">=": ge}
_EQUALITY = ("=", "!=")
WILDCARD = "*"
ESCAPE = "\\"
INT64_MAX = 2**63 - 1


class Field(Protocol):
    """One field that a filter may name. FILTER_INVALID where operator or value make no sense for it."""

    def condition(self, asked: Condition) -> ColumnElement[bool]: ...


Fields = Mapping[str, Field]


def condition_of(tree: Filter, fields: Fields) -> ColumnElement[bool]:
    """What rows must fulfil. FILTER_INVALID points at an unknown field, a wrong operator or a wrong value."""
    match tree:
        case Condition():
            return _field(tree, fields).condition(tree)
        case Negation(part):
            return not_(condition_of(part, fields))
        case Conjunction(parts):
            return and_(*(condition_of(part, fields) for part in parts))
        case Disjunction(parts):
            return or_(*(condition_of(part, fields) for part in parts))


@dataclass(frozen=True, slots=True)
class TextField:
    """= and != compare exactly, or, where the value holds a *, with anything in its place and without regard to case;
    `:` is for a part of the text, without regard to case. `folded`: the column is case-folded, and so is the value.
    """

    column: ColumnElement[str]
    folded: bool = False

    def condition(self, asked: Condition) -> ColumnElement[bool]:
        value = asked.value.casefold() if self.folded else asked.value
        if asked.operator == ":":
            return self._like(f"*{value.strip(WILDCARD)}*")
        _check_operator(asked, *_COMPARISONS)
        if WILDCARD in value and asked.operator in _EQUALITY:
            like = self._like(value)
            return like if asked.operator == "=" else not_(like)
        return _COMPARISONS[asked.operator](self.column, value)

    def _like(self, pattern: str) -> ColumnElement[bool]:
        for special in (ESCAPE, "%", "_"):
            pattern = pattern.replace(special, ESCAPE + special)
        return func.lower(self.column).like(pattern.lower().replace(WILDCARD, "%"), escape=ESCAPE)


@dataclass(frozen=True, slots=True)
class NumberField:
    """Whole numbers, also written as 1e9 or 7_000_000."""

    column: ColumnElement[int]

    def condition(self, asked: Condition) -> ColumnElement[bool]:
        _check_operator(asked, *_COMPARISONS)
        try:
            number = float(asked.value)
            value = int(asked.value) if asked.value.lstrip("+-").replace("_", "").isdigit() else int(number)
        except (ValueError, OverflowError):
            number, value = 0.5, 0
        if number != value or abs(value) > INT64_MAX:
            raise _wrong_value(asked, "is no whole number", "write one such as 7000000000 or 7e9")
        return _COMPARISONS[asked.operator](self.column, value)


@dataclass(frozen=True, slots=True)
class RealField:
    """Finite numbers, with or without a fraction."""

    column: ColumnElement[float]

    def condition(self, asked: Condition) -> ColumnElement[bool]:
        _check_operator(asked, *_COMPARISONS)
        try:
            value = float(asked.value)
        except ValueError:
            value = math.nan
        if not math.isfinite(value):
            raise _wrong_value(asked, "is no number", "write one such as 0.9 or 1e-3")
        return _COMPARISONS[asked.operator](self.column, value)


@dataclass(frozen=True, slots=True)
class ChoiceField:
    """One of some words, without regard to case."""

    column: ColumnElement[str]
    choices: tuple[str, ...]

    def condition(self, asked: Condition) -> ColumnElement[bool]:
        _check_operator(asked, *_EQUALITY)
        if asked.value.upper() not in self.choices:
            raise _wrong_value(asked, "is not one of them", f"write one of {', '.join(self.choices)}")
        return _COMPARISONS[asked.operator](self.column, asked.value.upper())


@dataclass(frozen=True, slots=True)
class TimeField:
    """Times of RFC 3339, or dates, which mean their first moment in UTC."""

    column: ColumnElement[datetime]

    def condition(self, asked: Condition) -> ColumnElement[bool]:
        _check_operator(asked, *_COMPARISONS)
        try:
            if len(asked.value) == len("2026-01-31"):
                value = datetime.combine(date.fromisoformat(asked.value), time(), UTC)
            else:
                value = datetime.fromisoformat(asked.value)
        except ValueError:
            value = None
        if value is None or value.tzinfo is None:
            raise _wrong_value(asked, "is no time", "write 2026-01-31, or 2026-01-31T12:00:00Z with its zone")
        return _COMPARISONS[asked.operator](self.column, value)


@dataclass(frozen=True, slots=True)
class FlagField:
    """true or false."""

    column: ColumnElement[bool]

    def condition(self, asked: Condition) -> ColumnElement[bool]:
        _check_operator(asked, *_EQUALITY)
        if asked.value not in ("true", "false"):
            raise _wrong_value(asked, "is neither true nor false", "write one of them")
        return self.column if (asked.value == "true") == (asked.operator == "=") else not_(self.column)


@dataclass(frozen=True, slots=True)
class HasField:
    """A list: `:` says that it has an element, exactly; `:*` that it has any."""

    has: Callable[[str], ColumnElement[bool]]
    has_any: ColumnElement[bool]

    def condition(self, asked: Condition) -> ColumnElement[bool]:
        _check_operator(asked, ":")
        return self.has_any if asked.value == WILDCARD else self.has(asked.value)


@dataclass(frozen=True, slots=True)
class RowsField:
    """What is kept in rows of its own: fulfilled where some row fulfils `each`, or, with `:*`, where there is any."""

    each: Field
    where: Callable[[ColumnElement[bool]], ColumnElement[bool]]

    def condition(self, asked: Condition) -> ColumnElement[bool]:
        is_any = (asked.operator, asked.value) == (":", WILDCARD)
        return self.where(true() if is_any else self.each.condition(asked))


@dataclass(frozen=True, slots=True)
class MapField:
    """`field:key` says that it has the key, `field:*` that it has any; `member` is what lies behind `field.`, by the
    names there, or None where nothing can; `advice` says what can.
    """

    keys: HasField
    member: Callable[[tuple[str, ...]], Field | None]
    advice: str

    def condition(self, asked: Condition) -> ColumnElement[bool]:
        names = path_of(asked.field)[1:]
        if not names:
            return self.keys.condition(asked)
        member = self.member(names)
        if member is None:
            raise filter_invalid(asked.at, f"there is no field {asked.field[:40]!r}", self.advice)
        return member.condition(asked)


def _field(asked: Condition, fields: Fields) -> Field:
    if asked.field in fields:
        return fields[asked.field]
    of = fields.get(path_of(asked.field)[0])
    if isinstance(of, MapField):
        return of
    near = difflib.get_close_matches(asked.field, fields, 1)
    guess = f"did you mean {near[0]!r}? There are" if near else "there are"
    raise filter_invalid(asked.at, f"there is no field {asked.field[:40]!r}", f"{guess} {', '.join(sorted(fields))}")


def _check_operator(asked: Condition, *allowed: str) -> None:
    if asked.operator not in allowed:
        raise filter_invalid(
            asked.at, f"{asked.field} cannot be asked with {asked.operator!r}", f"use one of {' '.join(allowed)}"
        )


def _wrong_value(asked: Condition, problem: str, advice: str) -> InvalidArgument:
    return filter_invalid(asked.value_at, f"{asked.value[:40]!a} {problem}", advice)
