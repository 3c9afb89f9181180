"""What an empty catalog starts with: one admin's key, and the namespace that bare names mean. Safe to repeat."""

import hashlib
import hmac
import logging

from modelzoo.errors import Unauthenticated
from modelzoo.reference import DEFAULT_NAMESPACE
from zoo_catalog.grants import put_grant
from zoo_catalog.keys import find_key, insert_key, name_in
from zoo_catalog.namespaces import has_namespace, insert_namespace
from zoo_server.principal import EVERYWHERE, Role
from zoo_store.sql import Database

__all__ = ["bootstrap"]

log = logging.getLogger(__name__)

ACTOR = "service:catalog"
ADMIN = "admin"


async def bootstrap(database: Database, secret: str) -> None:
    """Make sure that the secret's key, its subject's role, and the default namespace exist; all or nothing.

    A key that was revoked stays revoked. Raises CREDENTIAL_INVALID for a malformed secret, or one with the name of
    another key.
    """
    name = name_in(secret)
    async with database.write() as connection:
        key = await find_key(connection, name)
        if key is None:
            await insert_key(connection, secret, ADMIN, "bootstrap", None, ACTOR)
        elif not hmac.compare_digest(key.secret_sha256, hashlib.sha256(secret.encode()).digest()):
            raise Unauthenticated(
                "CREDENTIAL_INVALID", f"the bootstrap key has the name of another one, {name}: make a new secret"
            )
        elif key.revoke_time is not None:
            log.warning("the bootstrap key %s was revoked: give another one to administer with it", name)
        await put_grant(connection, ADMIN, EVERYWHERE, Role.ADMIN, ACTOR)
        if not await has_namespace(connection, DEFAULT_NAMESPACE):
            await insert_namespace(connection, DEFAULT_NAMESPACE, "models for everybody", ACTOR)
