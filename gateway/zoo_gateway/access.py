"""Keys and grants as the gateway holds them: whole snapshots, replaced at once, looked up without waiting."""

import hashlib
import hmac
import re
from collections.abc import Mapping
from dataclasses import dataclass

from modelzoo.errors import Unauthenticated
from zoo_server.principal import Principal

__all__ = ["Access", "Key"]

# `zoo_<id>_<secret>`: 16 hexadecimal digits, then 43 characters of URL-safe base64 (256 bits).
_CREDENTIAL = re.compile(r"zoo_([0-9a-f]{16})_[A-Za-z0-9_-]{43}")
_SCHEME = "bearer "


@dataclass(frozen=True, slots=True)
class Key:
    """A caller's key. Times are Unix seconds; None is never."""

    id: str
    secret_sha256: bytes
    subject: str
    expires: float | None
    revoked: float | None


class Access:
    """A snapshot of every key by id and of what every subject may do."""

    def __init__(self, keys: Mapping[str, Key], principals: Mapping[str, Principal]) -> None:
        self._keys = keys
        self._principals = principals

    def key(self, authorization: str, now: float) -> Key:
        """The valid key in an `authorization` header; Unauthenticated with a CREDENTIAL_ reason otherwise."""
        if not authorization:
            raise Unauthenticated(
                "CREDENTIAL_MISSING", "no key was sent: send `authorization: Bearer <key>`; an admin makes keys"
            )
        credential = authorization[len(_SCHEME) :].strip()
        match = _CREDENTIAL.fullmatch(credential) if authorization[: len(_SCHEME)].lower() == _SCHEME else None
        if match is None:
            raise Unauthenticated(
                "CREDENTIAL_INVALID",
                "this is not a key of the zoo: it is sent as `authorization: Bearer zoo_<id>_<secret>`, "
                "exactly as it was shown when it was made",
            )
        key = self._keys.get(match[1])
        digest = hashlib.sha256(credential.encode()).digest()
        if key is None or not hmac.compare_digest(key.secret_sha256, digest):
            raise Unauthenticated("CREDENTIAL_INVALID", "this key is not known here: check it, or ask for a new one")
        if key.revoked is not None and key.revoked <= now:
            raise Unauthenticated("CREDENTIAL_REVOKED", "this key was revoked: ask an admin for a new one")
        if key.expires is not None and key.expires <= now:
            raise Unauthenticated("CREDENTIAL_EXPIRED", "this key has expired: ask an admin for a new one")
        return key

    def principal(self, key: Key) -> Principal:
        """Whom the key stands for, with every role that was granted."""
        return self._principals.get(key.subject, Principal(key.subject))
