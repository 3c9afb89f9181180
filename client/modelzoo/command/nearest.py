"""For a model that is not there: names that come close to it."""

import difflib
import itertools
from collections.abc import Generator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from modelzoo.client import Client

__all__ = ["naming_the_nearest"]

LOOKED_AT = 500  # a page or two: an error should not take long
NAMED = 3


@contextmanager
def naming_the_nearest(client: "Client", ref: str) -> Generator[None]:
    """Add to a MODEL_NOT_FOUND of the block the models of the same namespace that `ref` may have meant."""
    from modelzoo.errors import NotFound

    try:
        yield
    except NotFound as error:
        near = _nearest(client, ref) if error.reason == "MODEL_NOT_FOUND" and not error.metadata else []
        if not near:
            raise
        message = f"{error.message.rstrip('.')}. Did you mean {' or '.join(near)}?"
        raise NotFound(error.reason, message, metadata=error.metadata) from error


def _nearest(client: "Client", ref: str) -> list[str]:
    from modelzoo.errors import ZooError
    from modelzoo.reference import parse

    model = parse(ref)
    try:
        names = [found.name for found in itertools.islice(client.models(model.namespace), LOOKED_AT)]
    except ZooError:  # the error that is to be told is the first one
        return []
    # Without case and without the namespace, which is the same for all.
    by_name = {name.partition("/")[2].lower(): name for name in names}
    wanted = model.model.partition("/")[2].lower()
    return [by_name[name] for name in difflib.get_close_matches(wanted, by_name, NAMED)]
