r"""Filters of listings: a stated subset of AIP-160, read into a tree. What a field means is for the service to say.

    filter       conditions joined by AND, or by a space, which means AND too; OR binds more tightly than AND, as
                 AIP-160 has it; NOT or - before a condition or parentheses
    condition    field operator value
    field        names joined by dots; behind the first, what is no word goes into quotes: metrics."zoo/digits".accuracy
    operator     =  !=  <  <=  >  >=  and : ("has": an element of a list, a key of a map, a part of a text)
    value        a word, or anything in double or single quotes, with \ before a quote or \ inside

Not of the subset: functions, words without a field, fields compared with fields. Source: https://google.aip.dev/160
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from lark import Lark, Token, Transformer, UnexpectedInput

from modelzoo.errors import InvalidArgument

__all__ = [
    "Condition",
    "Conjunction",
    "Disjunction",
    "Filter",
    "Negation",
    "filter_invalid",
    "parse_filter",
    "path_of",
]

CONDITIONS_MAX = 64
PARENTHESES_MAX = 32
SHOWN_CHARACTERS = 24

_STEP = r"""[\w-]+|"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*'"""
_FIELD = rf"[A-Za-z_]\w*(?:\.(?:{_STEP}))*"

_GRAMMAR = rf"""
    start: conjunction
    conjunction: disjunction (_AND? disjunction)*
    disjunction: _term (_OR _term)*
    _term: negation | _simple
    negation: _NOT _simple
    _simple: "(" conjunction ")" | condition
    condition: FIELD OPERATOR (STRING | WORD)
    _AND.3: /AND\b/
    _OR.3: /OR\b/
    _NOT.3: /NOT\b|-/
    FIELD.2: /{_FIELD}(?=\s*(?:[=<>:]|!=))/
    OPERATOR: "<=" | ">=" | "!=" | "=" | "<" | ">" | ":"
    STRING: /"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*'/
    WORD: /[^\s()"'=<>!:]+(?::[^\s()"'=<>!]*)?/
    %ignore /\s+/
"""

_PATH = re.compile(_FIELD)
_NAME = re.compile(_STEP)


@dataclass(frozen=True, slots=True)
class Condition:
    """`field operator value`. `at` and `value_at` are the characters, from 1, at which it and its value begin."""

    field: str
    operator: str
    value: str
    at: int
    value_at: int


@dataclass(frozen=True, slots=True)
class Conjunction:
    parts: tuple["Filter", ...]


@dataclass(frozen=True, slots=True)
class Disjunction:
    parts: tuple["Filter", ...]


@dataclass(frozen=True, slots=True)
class Negation:
    part: "Filter"


Filter = Condition | Conjunction | Disjunction | Negation


def parse_filter(text: str) -> Filter | None:
    """The tree of a filter, or None for one that is blank. FILTER_INVALID points at the character at fault."""
    if not text.strip():
        return None
    if text.count("(") > PARENTHESES_MAX:
        raise filter_invalid(1, f"there are more than {PARENTHESES_MAX} parentheses", "write it flatter")
    try:
        tree: Any = _parser().parse(text)  # pyright: ignore[reportUnknownMemberType]
    except UnexpectedInput as error:
        raise _unexpected(text, error) from error
    if (count := _count(tree)) > CONDITIONS_MAX:
        raise filter_invalid(1, f"there are {count} conditions", f"at most {CONDITIONS_MAX} can be asked at once")
    return tree


def path_of(field: str) -> tuple[str, ...]:
    """The names that a field is made of, without quotes; () where it is none."""
    if not _PATH.fullmatch(field):
        return ()
    return tuple(_unquoted(step) if step[0] in "\"'" else step for step in _NAME.findall(field))


def filter_invalid(at: int, problem: str, advice: str) -> InvalidArgument:
    """FILTER_INVALID at a character, counted from 1; `advice` says what to do."""
    return InvalidArgument(
        "FILTER_INVALID",
        f"filter, character {at}: {problem}; {advice}",
        field="filter",
        metadata={"field": "filter", "character": str(at)},
    )


class _Trees(Transformer[Token, Any]):
    """Applied while parsing, rule by rule, so that no nesting can exhaust the stack."""

    def start(self, parts: Sequence[Filter]) -> Filter:
        return parts[0]

    def conjunction(self, parts: Sequence[Filter]) -> Filter:
        return parts[0] if len(parts) == 1 else Conjunction(tuple(parts))

    def disjunction(self, parts: Sequence[Filter]) -> Filter:
        return parts[0] if len(parts) == 1 else Disjunction(tuple(parts))

    def negation(self, parts: Sequence[Filter]) -> Filter:
        return Negation(parts[0])

    def condition(self, parts: Sequence[Token]) -> Filter:
        field, operator, value = parts
        text = _unquoted(value) if value.type == "STRING" else str(value)
        return Condition(str(field), str(operator), text, _at(field), _at(value))


@cache
def _parser() -> Lark:
    return Lark(_GRAMMAR, parser="lalr", transformer=_Trees())


def _unquoted(text: str) -> str:
    return re.sub(r"\\(.)", r"\1", text[1:-1], flags=re.DOTALL)


def _at(token: Token) -> int:
    return (token.start_pos or 0) + 1


def _count(tree: Filter) -> int:
    match tree:
        case Condition():
            return 1
        case Negation(part):
            return _count(part)
        case Conjunction(parts) | Disjunction(parts):
            return sum(map(_count, parts))


def _unexpected(text: str, error: UnexpectedInput) -> InvalidArgument:
    position = error.pos_in_stream
    # What ends the text is a token too, without characters.
    if position is None or position < 0 or not getattr(error, "token", "some"):
        return filter_invalid(len(text) + 1, "it ends too early", "complete the last condition, or close a parenthesis")
    rest = text[position:]
    shown = ascii(rest[:SHOWN_CHARACTERS]) + ("..." if len(rest) > SHOWN_CHARACTERS else "")
    return filter_invalid(
        position + 1,
        f"{shown} was not expected",
        "a condition is `field operator value`, as in task = text-generation AND tags:chat; words to look for in the "
        "text are no condition: `query` takes them, or WORDS of the command",
    )
