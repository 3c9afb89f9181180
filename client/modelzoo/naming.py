"""Which of many inputs an error is about."""

import os
from collections.abc import Generator
from contextlib import contextmanager

from modelzoo.errors import ZooError

__all__ = ["naming_the_input"]


@contextmanager
def naming_the_input(position: int, given: object) -> Generator[None]:
    """Note on a ZooError of the block which input it is about: its position, from 0, and its path where it has one."""
    try:
        yield
    except ZooError as error:
        path = f" ({os.fspath(given)!r})" if isinstance(given, str | os.PathLike) else ""
        error.add_note(f"Input {position}{path}.")
        raise
