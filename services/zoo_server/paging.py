"""Pages of listings (AIP-158). A token is opaque, bound to the listing that gave it, and holds the last row's key.

The next page is asked for by key (`key > last`), never by offset: rows that come and go between two pages neither
repeat nor hide others.
"""

import base64
import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from modelzoo.errors import InvalidArgument

__all__ = [
    "DEFAULT_PAGE",
    "Page",
    "PageRequest",
    "decode_token",
    "encode_token",
    "is_int64",
    "page_of",
    "page_size",
    "token_invalid",
]

DEFAULT_PAGE = 100
INT64_MAX = 2**63 - 1

# What a page begins after: the value that orders the rows, or several.
Key = str | int | list[Any]

T = TypeVar("T")
K = TypeVar("K", str, int, list[Any])


@dataclass(frozen=True, slots=True)
class PageRequest:
    """What a List request asks for; 0 asks for the default size, an empty token for the first page."""

    asked: int = 0
    token: str = ""

    @property
    def size(self) -> int:
        return page_size(self.asked)

    @property
    def fetch(self) -> int:
        """How many rows to read: the one too many says whether there is a next page."""
        return self.size + 1

    def after(self, listing: str, kind: type[K]) -> K | None:
        """The key that the page begins after; None for the first page. Raises PAGE_TOKEN_INVALID."""
        return decode_token(listing, self.token, kind)


@dataclass(frozen=True, slots=True)
class Page(Generic[T]):
    """Some items in order, and the token of the next page, '' after the last."""

    items: tuple[T, ...]
    next_token: str


def page_of(listing: str, items: Iterable[T], size: int, key: Callable[[T], Key]) -> Page[T]:
    """The page of the first `size` of the items that were fetched."""
    fetched = tuple(items)
    shown = fetched[:size]
    return Page(shown, encode_token(listing, key(shown[-1])) if len(fetched) > size else "")


def page_size(asked: int) -> int:
    return asked or DEFAULT_PAGE


def encode_token(listing: str, last: Key) -> str:
    """The token of the page after the row with key `last`, in the listing of that name and filter."""
    return base64.urlsafe_b64encode(json.dumps([listing, last]).encode()).decode()


def decode_token(listing: str, token: str, kind: type[K]) -> K | None:
    """The key that the page begins after, of the listing's own kind; None for the first page.

    Raises PAGE_TOKEN_INVALID.
    """
    if not token:
        return None
    try:
        given: Any = json.loads(base64.b64decode(token, altchars=b"-_", validate=True))
        given_listing, last = given
    except (ValueError, TypeError, RecursionError):  # not base64, not JSON, not a pair, nested without end
        given_listing, last = None, None
    if given_listing != listing or type(last) is not kind or not is_int64(last):
        raise token_invalid()
    return last


def is_int64(value: Any) -> bool:
    """Whether a database takes the value, if it is a number."""
    return not isinstance(value, int) or abs(value) <= INT64_MAX


def token_invalid() -> InvalidArgument:
    return InvalidArgument(
        "PAGE_TOKEN_INVALID",
        "this page token was not given by this listing: begin again without one",
        field="page_token",
    )
