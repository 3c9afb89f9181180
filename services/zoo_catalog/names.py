"""Names of namespaces and models: reading them in requests, and what is said where there is nothing of a name.

What a caller may not see is answered by the very same errors, so that its existence cannot be probed.
"""

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncConnection

from modelzoo.errors import InvalidArgument, NotFound
from modelzoo.reference import parse
from zoo_catalog.schema import namespaces

__all__ = [
    "model_not_found",
    "namespace_not_found",
    "namespace_of",
    "parse_model",
    "stored_namespace",
]

SHOWN_CHARACTERS_MAX = 96


def parse_model(name: str) -> str:
    """`namespace/name` of a reference without a selector. Raises REFERENCE_INVALID."""
    reference = parse(name)
    if "@" in name:
        raise InvalidArgument(
            "REFERENCE_INVALID", f"'{reference}' names a version, and here a model is wanted: write {reference.model}"
        )
    return reference.model


def namespace_of(model: str) -> str:
    return model.partition("/")[0]


async def stored_namespace(connection: AsyncConnection, name: str) -> str:
    """The namespace's name as it was created. Raises NAMESPACE_NOT_FOUND."""
    query = select(namespaces.c.name).where(namespaces.c.key == name.casefold(), namespaces.c.delete_time.is_(None))
    stored = (await connection.execute(query)).scalar_one_or_none()
    if stored is None:
        raise namespace_not_found(name)
    return stored


def namespace_not_found(name: str) -> NotFound:
    return NotFound(
        "NAMESPACE_NOT_FOUND",
        f"there is no namespace {name[:SHOWN_CHARACTERS_MAX]!a}, or none that you may see: "
        "list namespaces, or ask an admin for a grant",
    )


def model_not_found(model: str) -> NotFound:
    return NotFound(
        "MODEL_NOT_FOUND",
        f"there is no model '{model}', or none that you may see: list models, or ask an admin for a grant",
        metadata={"model": model},
    )
