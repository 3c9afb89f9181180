"""Digests and namespaces as callers write them, checked before they become keys."""

import re

from modelzoo.errors import InvalidArgument

__all__ = ["check_digest", "namespace_key"]

_DIGEST = re.compile(r"[0-9a-f]{64}")
_NAMESPACE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,95}")


def check_digest(digest: str) -> str:
    """`digest`, or DIGEST_INVALID."""
    if not _DIGEST.fullmatch(digest):
        raise InvalidArgument(
            "DIGEST_INVALID",
            f"a blob's digest is its BLAKE3-256 as 64 lower-case hexadecimal digits, not {digest[:80]!a}",
        )
    return digest


def namespace_key(namespace: str) -> str:
    """The form under which the namespace is kept: namespaces are unique without regard to case. Or FIELD_INVALID."""
    if not _NAMESPACE.fullmatch(namespace):
        raise InvalidArgument(
            "FIELD_INVALID",
            f"namespace {namespace[:80]!a} does not begin with an ASCII letter or digit and go on with letters, "
            "digits, '.', '_' or '-', 96 characters at most",
            field="namespace",
            metadata={"field": "namespace"},
        )
    return namespace.lower()
