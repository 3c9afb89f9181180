"""Making calls: errors as ZooErrors, pages as one iterator, requests refused before they are sent."""

from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager
from typing import TypeVar

import grpc

from modelzoo.errors import InvalidArgument, Unavailable, ZooError, from_rpc_error

__all__ = ["UNARY_TIMEOUT_S", "building", "is_broken", "paged", "translated"]

T = TypeVar("T")

UNARY_TIMEOUT_S = 60.0

# What grpc or a proxy says where a connection broke under a call, as opposed to what our servers say.
_BROKEN = frozenset(
    {grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.INTERNAL, grpc.StatusCode.UNKNOWN, grpc.StatusCode.CANCELLED}
)


@contextmanager
def translated() -> Generator[None]:
    """Raise what grpc raises in the block as the ZooError it carries. Nothing answering is SERVER_UNREACHABLE."""
    try:
        yield
    except grpc.RpcError as error:
        raise _translate(error) from error


def is_broken(error: ZooError) -> bool:
    """Whether a stream ended with this error because something died under it, not because a server said so."""
    return error.code in _BROKEN and error.reason in ("", "SERVER_UNREACHABLE")


def paged(fetch: Callable[[str], tuple[Sequence[T], str]]) -> Iterator[T]:
    """Every item, page after page as they are asked for; `fetch(page_token)` gives a page and the next token."""
    token = ""
    while True:
        with translated():
            items, token = fetch(token)
        yield from items
        if not token:
            return


@contextmanager
def building() -> Generator[None]:
    """Raise InvalidArgument where protobuf refuses a value of the request that the block builds."""
    try:
        yield
    except UnicodeEncodeError as error:
        raise InvalidArgument(
            "TEXT_INVALID", "A text holds a lone surrogate, which is no character; decode the input as UTF-8."
        ) from error
    except (ValueError, TypeError) as error:
        raise InvalidArgument("FIELD_INVALID", f"The request cannot be sent: {error}.") from error


def _translate(error: grpc.RpcError) -> ZooError:
    found = from_rpc_error(error)
    if isinstance(found, Unavailable) and not found.reason:
        return Unavailable("SERVER_UNREACHABLE", f"The zoo does not answer: {found.message}")
    return found
