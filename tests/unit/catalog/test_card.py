"""Cards: text and front matter, however broken."""

import itertools
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zoo_catalog.card import CARD_BYTES_MAX, Card, parse_card

NAMES = list(itertools.pairwise("abcdefghi"))


def front(yaml: str, text: str = "# Text\n") -> Card:
    return parse_card(f"---\n{yaml}\n---\n{text}".encode())


def test_the_front_matter_gives_facts_and_leaves_the_text() -> None:
    card = front("license: apache-2.0\npipeline_tag: fill-mask\ntags:\n- a\n- b\n- a\nlanguage: en")
    assert card == Card("# Text\n", "apache-2.0", "fill-mask", ("a", "b"), languages=("en",))


@pytest.mark.parametrize("text", ["", "# Only text", "---", "a\n---\nlicense: mit\n---\n", "----\nlicense: mit\n---\n"])
def test_text_without_front_matter_is_all_card(text: str) -> None:
    assert parse_card(text.encode()) == Card(text)


@pytest.mark.parametrize(
    "yaml",
    [
        "license: [",
        "- a\n- b",
        "a: b: c",
        "\t",
        "{" * 5000,
        "[" * 60000,
    ],
)
def test_broken_front_matter_is_text_without_facts(yaml: str) -> None:
    card = front(yaml)
    assert (card.licence, card.task, card.tags) == ("", "", ())
    assert "# Text" in card.text


def test_a_yaml_tag_makes_no_object() -> None:
    assert front("license: !!python/object/apply:os.getcwd []\ntags: !!python/name:os.system [a]").tags == ("a",)


def test_windows_line_ends_and_a_byte_order_mark_change_nothing() -> None:
    assert parse_card(b"\xef\xbb\xbf---\r\nlicense: mit\r\n---\r\n# T\r\n") == Card("# T\r\n", "mit")


@pytest.mark.parametrize(
    ("yaml", "licence"),
    [
        ("license: other\nlicense_name: llama3", "llama3"),
        ("license: other", "other"),
        ("license: [mit, apache-2.0]", "mit, apache-2.0"),
        ("license: null", ""),
        ("license: {a: b}", ""),
        ("license: 2024-01-01", "2024-01-01"),
        ("license: no", "no"),
        (f"license: {'x' * 1000}", "x" * 200),
    ],
)
def test_licences_in_their_many_spellings(yaml: str, licence: str) -> None:
    assert front(yaml).licence == licence


def test_references_within_yaml_cost_no_time_and_no_memory() -> None:
    bomb = "a: &a [x, x]\n" + "".join(f"{new}: &{new} [*{old}, *{old}]\n" for old, new in NAMES)
    merges = "a: &a {x: y}\n" + "".join(f"{new}: &{new} {{<<: [{', '.join([f'*{old}'] * 9)}]}}\n" for old, new in NAMES)
    started = time.process_time()
    for yaml in (bomb, merges):
        assert front(f"{yaml}tags: *i").tags == ()
    assert time.process_time() - started < 2


def test_a_card_is_cut_at_its_limit() -> None:
    assert len(parse_card(b"x" * (CARD_BYTES_MAX + 10)).text) == CARD_BYTES_MAX


@given(st.binary(max_size=200), st.text(max_size=200))
def test_no_card_raises_and_every_fact_is_storable_text(data: bytes, yaml: str) -> None:
    for card in (
        parse_card(data),
        parse_card(b"---\n" + data + b"\n---\n"),
        parse_card(f"---\ntags: {yaml!r}\n---".encode(errors="replace")),
    ):
        for text in (card.text, card.licence, card.task, *card.tags):
            text.encode()
            assert "\0" not in text
