"""Page tokens: what was given comes back, anything else is refused."""

import base64
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelzoo.errors import InvalidArgument
from zoo_server.paging import Page, PageRequest, decode_token, encode_token, page_of


@given(st.text(), st.text())
def test_a_token_gives_its_key_back_to_its_listing(listing: str, last: str) -> None:
    assert decode_token(listing, encode_token(listing, last), str) == last


def test_no_token_is_the_first_page() -> None:
    assert PageRequest().after("models", str) is None
    assert (PageRequest().size, PageRequest().fetch, PageRequest(7).fetch) == (100, 101, 8)


def raw(value: object) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).decode()


@pytest.mark.parametrize(
    "token",
    [
        "x",
        "%%%%",
        "ä",
        raw(7),
        raw(["models"]),
        raw(["models", 1, 2]),
        raw(["models", None]),
        raw(["models", True]),
        raw(["models", 2**63]),
        raw(["models", "a"]),
        raw(["other", 1]),
        raw({"models": 1, "x": 2}),
        base64.urlsafe_b64encode(b"[" * 3000).decode(),
        raw(["models", 1]) + "=",
        raw(["models", 1])[:-3] + "!!!",
    ],
)
def test_what_the_listing_did_not_give_is_refused(token: str) -> None:
    with pytest.raises(InvalidArgument) as caught:
        decode_token("models", token, int)
    assert caught.value.reason == "PAGE_TOKEN_INVALID"


def test_a_page_shows_one_less_than_was_fetched() -> None:
    page = page_of("models", [1, 2, 3], 2, lambda item: item)
    assert page.items == (1, 2)
    assert decode_token("models", page.next_token, int) == 2
    assert page_of("models", [1, 2], 2, lambda item: item) == Page((1, 2), "")
    assert page_of("models", [], 2, lambda item: item) == Page((), "")
