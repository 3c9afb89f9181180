"""Who calls: signed by the gateway (for callers' keys) or by a service (for itself), verified by every server.

A principal travels as metadata `zoo-principal`: a JWT (RFC 7519) signed with Ed25519 (RFC 8037) that lives 60 s.
The trust file says which key may assert what: the gateway any subject, a service only itself with the roles that the
file gives it. So a stolen service key cannot become anybody else. A key with a delegation may also assert subjects
of one prefix: what it starts on behalf of others has principals of its own, which do no more than the file says. As
itself it may say on whose behalf it acts; that is recorded, and decides nothing.
"""

import base64
import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from enum import IntEnum
from pathlib import Path
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from modelzoo.errors import Unauthenticated

__all__ = [
    "EVERYWHERE",
    "METADATA_KEY",
    "Behalf",
    "Delegation",
    "Principal",
    "Role",
    "Signer",
    "TrustedKey",
    "Verifier",
    "create_signer",
]

METADATA_KEY = "zoo-principal"
EVERYWHERE = "*"
LIFETIME_S = 60
LEEWAY_S = 10
# A token is signed again this long before it lapses, so that no call carries one about to.
RENEW_BEFORE_S = 20
VERIFIED_MOST = 10_000
# Characters of what is only recorded.
SAID_MOST = 128
ALGORITHM = "EdDSA"


class Role(IntEnum):
    """The numbers of zoo.iam.v1.Role; each includes those before it."""

    VIEWER = 1
    INVOKER = 2
    PUBLISHER = 3
    TRAINER = 4
    ADMIN = 5


@dataclass(frozen=True, slots=True)
class Behalf:
    """For whom a service acts, a subject, and why: the name of a job, say."""

    subject: str
    cause: str


@dataclass(frozen=True, slots=True)
class Principal:
    """A subject and its role by namespace; `*` is the cluster and every namespace. Namespaces compare without case.

    `behalf` is what a service says of what it does for others; it gives no role."""

    subject: str
    roles: Mapping[str, Role] = field(default_factory=dict[str, Role])
    behalf: Behalf | None = None

    def role_in(self, namespace: str) -> Role | None:
        """The highest role that holds there."""
        wanted = namespace.casefold()
        held = [role for name, role in self.roles.items() if name in (EVERYWHERE, wanted) or name.casefold() == wanted]
        return max(held, default=None)

    def has(self, role: Role, namespace: str) -> bool:
        held = self.role_in(namespace)
        return held is not None and held >= role


@dataclass(frozen=True, slots=True)
class Delegation:
    """Whom a service's key may assert beside itself: subjects that go on after `prefix`, with roles of at most `most`
    in namespaces that are named; never in `*`. It may also say on whose behalf it acts itself."""

    prefix: str
    most: Role

    def allows(self, principal: Principal) -> bool:
        return (
            principal.subject.startswith(self.prefix)
            and principal.subject != self.prefix
            and EVERYWHERE not in principal.roles
            and all(role <= self.most for role in principal.roles.values())
        )


@dataclass(frozen=True, slots=True)
class TrustedKey:
    """What holders of a signing key may assert: `principal` and what is delegated to it, or anybody where `principal`
    is None (the gateway)."""

    kid: str
    public_key: bytes
    principal: Principal | None
    delegation: Delegation | None = None


class Signer:
    """Signs principals with one private key; remembers the last token for itself."""

    def __init__(self, kid: str, private_key: bytes, clock: Callable[[], float] = time.time) -> None:
        self.kid = kid
        self._clock = clock
        self._key = Ed25519PrivateKey.from_private_bytes(private_key)
        self._own, self._own_expires = "", 0.0

    @classmethod
    def load(cls, path: Path) -> "Signer":
        """Read an identity file: JSON with `kid` and `private_key` (base64 of 32 bytes)."""
        content = json.loads(path.read_text())
        return cls(content["kid"], base64.b64decode(content["private_key"]))

    def save(self, path: Path) -> None:
        """Write an identity file that only its owner can read."""
        content = {"kid": self.kid, "private_key": base64.b64encode(self._key.private_bytes_raw()).decode()}
        # A file that is there already keeps its mode unless it goes first.
        path.unlink(missing_ok=True)
        path.touch(mode=0o600, exist_ok=False)
        path.write_text(json.dumps(content))

    def public_key(self) -> bytes:
        return self._key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)

    def sign(self, principal: Principal | None = None, behalf: Behalf | None = None) -> str:
        """A token for `principal`, or for the holder of this key itself where it is None, perhaps on behalf of
        another."""
        now = int(self._clock())
        claims: dict[str, Any] = {"iat": now, "exp": now + LIFETIME_S}
        if principal is not None:
            claims |= {"sub": principal.subject, "roles": {n: int(r) for n, r in principal.roles.items()}}
        if behalf is not None:
            claims["behalf"] = {"subject": behalf.subject, "cause": behalf.cause}
        return jwt.encode(claims, self._key, algorithm=ALGORITHM, headers={"kid": self.kid})

    def own_token(self) -> str:
        """A token for the holder itself, signed anew when the last one nears its end."""
        if self._clock() > self._own_expires - RENEW_BEFORE_S:
            self._own = self.sign()
            self._own_expires = self._clock() + LIFETIME_S
        return self._own


def create_signer(kid: str) -> Signer:
    return Signer(kid, Ed25519PrivateKey.generate().private_bytes_raw())


class Verifier:
    """Turns tokens back into principals; remembers those it verified until they lapse."""

    def __init__(self, trusted: list[TrustedKey]) -> None:
        self._trusted = {key.kid: (Ed25519PublicKey.from_public_bytes(key.public_key), key) for key in trusted}
        self._verified: dict[str, tuple[float, Principal]] = {}

    @classmethod
    def load(cls, path: Path) -> "Verifier":
        """Read a trust file, as `save_trust` writes it."""
        return cls([_trusted_from_json(entry) for entry in json.loads(path.read_text())["keys"]])

    def verify(self, token: str) -> Principal:
        """The principal, or Unauthenticated with CREDENTIAL_MISSING, _INVALID or _EXPIRED."""
        if not token:
            raise Unauthenticated("CREDENTIAL_MISSING", "no credential was sent: call through the gateway with a key")
        known = self._verified.get(token)
        if known is not None and known[0] > time.time():
            return known[1]
        expires, principal = self._decode(token)
        if len(self._verified) >= VERIFIED_MOST:
            self._verified.clear()
        self._verified[token] = (expires, principal)
        return principal

    def _decode(self, token: str) -> tuple[float, Principal]:
        try:
            kid = jwt.get_unverified_header(token).get("kid")
            public_key, trusted = self._trusted[str(kid)]
            claims = jwt.decode(
                token,
                public_key,
                algorithms=[ALGORITHM],
                leeway=LEEWAY_S,
                options={"require": ["exp", "iat"] if trusted.principal else ["exp", "iat", "sub"]},
            )
            roles = {str(n): Role(r) for n, r in claims.get("roles", {}).items()}
            said = claims.get("behalf")
            behalf = None if said is None else Behalf(str(said["subject"])[:SAID_MOST], str(said["cause"])[:SAID_MOST])
        except jwt.ExpiredSignatureError as error:
            raise Unauthenticated("CREDENTIAL_EXPIRED", "the principal's token has expired; call again") from error
        except (jwt.InvalidTokenError, KeyError, ValueError, AttributeError, TypeError) as error:
            raise Unauthenticated("CREDENTIAL_INVALID", "the principal's token is not one that we trust") from error
        return float(claims["exp"]), _believed(trusted, claims.get("sub"), roles, behalf)


def _believed(trusted: TrustedKey, subject: str | None, roles: dict[str, Role], behalf: Behalf | None) -> Principal:
    """Who a verified token is of. Unauthenticated CREDENTIAL_INVALID where its key may not say so."""
    if behalf is not None:
        if trusted.principal is None or trusted.delegation is None or subject is not None:
            raise _said_too_much()
        return replace(trusted.principal, behalf=behalf)
    if trusted.principal is None:
        # The decoder saw to it that there is a subject.
        return Principal(str(subject), roles)
    if trusted.delegation is None or subject is None:
        return trusted.principal
    asserted = Principal(subject, roles)
    if not trusted.delegation.allows(asserted):
        raise _said_too_much()
    return asserted


def _said_too_much() -> Unauthenticated:
    return Unauthenticated("CREDENTIAL_INVALID", "the principal's token says more than its key is trusted with")


def save_trust(path: Path, trusted: list[TrustedKey]) -> None:
    """Write the trust file: JSON, public keys only."""
    path.write_text(json.dumps({"keys": [_trusted_to_json(key) for key in trusted]}, indent=2))


def _trusted_to_json(key: TrustedKey) -> dict[str, Any]:
    entry: dict[str, Any] = {"kid": key.kid, "public_key": base64.b64encode(key.public_key).decode()}
    if key.principal is not None:
        entry["subject"] = key.principal.subject
        entry["roles"] = {n: r.name.lower() for n, r in key.principal.roles.items()}
    if key.delegation is not None:
        entry["delegation"] = {"prefix": key.delegation.prefix, "most": key.delegation.most.name.lower()}
    return entry


def _trusted_from_json(entry: dict[str, Any]) -> TrustedKey:
    principal = None
    if "subject" in entry:
        principal = Principal(entry["subject"], {n: Role[r.upper()] for n, r in entry["roles"].items()})
    delegation = None
    if "delegation" in entry:
        delegation = Delegation(entry["delegation"]["prefix"], Role[entry["delegation"]["most"].upper()])
    return TrustedKey(entry["kid"], base64.b64decode(entry["public_key"]), principal, delegation)
