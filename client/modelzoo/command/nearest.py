"""For a model, alias or version that is not there: those that come close to it."""

import difflib
import itertools
from collections.abc import Generator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from modelzoo.client import Client
    from modelzoo.errors import NotFound

__all__ = ["naming_the_nearest"]

LOOKED_AT = 500  # a page or two: an error should not take long
NAMED = 3


@contextmanager
def naming_the_nearest(client: "Client") -> Generator[None]:
    """Add to a refusal of the block, of a model, alias or version that is not there, what may have been meant."""
    from modelzoo.errors import NotFound

    try:
        yield
    except NotFound as error:
        near = _nearest(client, error)
        if not near:
            raise
        message = f"{error.message.rstrip('.')}. Did you mean {' or '.join(near)}?"
        raise NotFound(error.reason, message, metadata=error.metadata) from error


def _nearest(client: "Client", error: "NotFound") -> list[str]:
    from modelzoo.errors import ZooError

    model = error.metadata.get("model", "")
    if not model or "state" in error.metadata:  # a deleted one was meant, and found
        return []
    try:
        match error.reason:
            case "MODEL_NOT_FOUND":
                return _models(client, model)
            case "ALIAS_NOT_FOUND":
                return _aliases(client, model, error.metadata.get("alias", ""))
            case "VERSION_NOT_FOUND":
                latest = client.model(model).latest_version
                return [] if latest is None else [f"{model}@{latest}, the latest"]
            case _:
                return []
    except ZooError:  # the error that is to be told is the first one
        return []


def _models(client: "Client", model: str) -> list[str]:
    namespace, _, wanted = model.partition("/")
    names = [found.name for found in itertools.islice(client.models(namespace), LOOKED_AT)]
    # Without case and without the namespace, which is the same for all.
    by_name = {name.partition("/")[2].lower(): name for name in names}
    return [by_name[name] for name in difflib.get_close_matches(wanted.lower(), by_name, NAMED)]


def _aliases(client: "Client", model: str, wanted: str) -> list[str]:
    names = [alias.alias for alias in client.aliases(model)]
    return [f"{model}@{name}" for name in difflib.get_close_matches(wanted, names, NAMED)]
