"""Filters: the grammar that AIP-160 states, and errors that point at the character."""

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelzoo.errors import InvalidArgument
from zoo_server.filter import Condition, Conjunction, Disjunction, Negation, parse_filter


def simple(field: str, operator: str = "=", value: str = "1") -> Condition:
    return Condition(field, operator, value, 0, 0)


def without_places(tree: object) -> object:
    match tree:
        case Condition(field, operator, value):
            return simple(field, operator, value)
        case Conjunction(parts):
            return Conjunction(tuple(without_places(part) for part in parts))  # type: ignore[misc]
        case Disjunction(parts):
            return Disjunction(tuple(without_places(part) for part in parts))  # type: ignore[misc]
        case Negation(part):
            return Negation(without_places(part))  # type: ignore[arg-type]
    return tree


@pytest.mark.parametrize(
    ("text", "tree"),
    [
        ("", None),
        ("  \n", None),
        ("a=1", simple("a")),
        ('a = "x y"', simple("a", "=", "x y")),
        (r"a = 'it\'s'", simple("a", "=", "it's")),
        ("tags:chat", simple("tags", ":", "chat")),
        ("labels.stage != prod", simple("labels.stage", "!=", "prod")),
        ("t >= 2026-01-31T12:00:00Z", simple("t", ">=", "2026-01-31T12:00:00Z")),
        ("a=1 b=1", Conjunction((simple("a"), simple("b")))),
        ("a=1 AND b=1", Conjunction((simple("a"), simple("b")))),
        ("a=1 AND b=1 OR c=1", Conjunction((simple("a"), Disjunction((simple("b"), simple("c")))))),
        ("(a=1 AND b=1) OR c=1", Disjunction((Conjunction((simple("a"), simple("b"))), simple("c")))),
        ("NOT a=1", Negation(simple("a"))),
        ("-(a=1 b=1)", Negation(Conjunction((simple("a"), simple("b"))))),
        ("a=-1", simple("a", "=", "-1")),
        ("OR=1", simple("OR")),
        ("ANDROID=1", simple("ANDROID")),
        ("NOTE:x", simple("NOTE", ":", "x")),
    ],
)
def test_filters_mean_what_the_grammar_says(text: str, tree: object) -> None:
    assert without_places(parse_filter(text)) == tree


@pytest.mark.parametrize(
    ("text", "character", "says"),
    [
        ("resnet", 1, "words to look for"),
        ("a=1 resnet", 5, "words to look for"),
        ("a=", 3, "ends too early"),
        ("(a=1", 5, "ends too early"),
        ("a=1 OR", 7, "ends too early"),
        ("a=1)", 4, "')'"),
        ("a==1", 3, "'=1'"),
        ('a="x', 3, "x"),
        ("$=1", 1, "$"),
        ("(" * 33 + "a=1" + ")" * 33, 1, "parentheses"),
        (" ".join(f"a={n}" for n in range(65)), 1, "65 conditions"),
    ],
)
def test_what_is_no_filter_is_refused_at_its_character(text: str, character: int, says: str) -> None:
    with pytest.raises(InvalidArgument) as caught:
        parse_filter(text)
    assert (caught.value.reason, caught.value.metadata["character"]) == ("FILTER_INVALID", str(character))
    assert says in caught.value.message
    assert f"character {character}:" in caught.value.message


@given(st.text(alphabet="ab=<>!:()\"'\\ .*-ANDORT1\n", max_size=40))
def test_any_text_is_read_or_refused(text: str) -> None:
    with suppress(InvalidArgument):
        parse_filter(text)
        return
    with pytest.raises(InvalidArgument) as caught:
        parse_filter(text)
    assert caught.value.reason == "FILTER_INVALID"
    assert 1 <= int(caught.value.metadata["character"]) <= len(text) + 1
