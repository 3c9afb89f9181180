"""The names of objects in the bucket, and back.

blobs/<first 2 digits>/<BLAKE3-256>          the bytes
manifests/<first 2 digits>/<SHA-256>.json    canonical JSON
namespaces/<namespace>/<SHA-256>             a mark, empty: the manifest is visible there
quarantines/<namespace>/<SHA-256>            JSON, `reason` and `subject`: its bytes go to the admins alone there

Beside them `clock/now`, empty: how the last sweep asked the store for its time; `restore/under-way`: see zoo_backup.
"""

import re
from dataclasses import dataclass

__all__ = [
    "BLOBS",
    "MANIFESTS",
    "MARKS",
    "QUARANTINES",
    "Visible",
    "blob_key",
    "blob_of",
    "manifest_key",
    "manifest_of",
    "mark_key",
    "mark_of",
    "quarantine_key",
    "quarantine_of",
]

BLOBS, MANIFESTS, MARKS, QUARANTINES = "blobs/", "manifests/", "namespaces/", "quarantines/"

_BLOB = re.compile(r"blobs/([0-9a-f]{2})/(\1[0-9a-f]{62})")
_MANIFEST = re.compile(r"manifests/([0-9a-f]{2})/(\1[0-9a-f]{62})\.json")
_MARK = re.compile(r"namespaces/([a-z0-9][a-z0-9._-]{0,95})/([0-9a-f]{64})")
_QUARANTINE = re.compile(r"quarantines/([a-z0-9][a-z0-9._-]{0,95})/([0-9a-f]{64})")


@dataclass(frozen=True, slots=True, order=True)
class Visible:
    """That a manifest is visible in a namespace, which is in lower case."""

    namespace: str
    digest: str


def blob_key(digest: str) -> str:
    return f"{BLOBS}{digest[:2]}/{digest}"


def manifest_key(digest: str) -> str:
    return f"{MANIFESTS}{digest[:2]}/{digest}.json"


def mark_key(visible: Visible) -> str:
    return f"{MARKS}{visible.namespace}/{visible.digest}"


def quarantine_key(visible: Visible) -> str:
    return f"{QUARANTINES}{visible.namespace}/{visible.digest}"


def blob_of(key: str) -> str | None:
    """The digest of the blob under that key; None if no blob has such a key."""
    found = _BLOB.fullmatch(key)
    return found and found[2]


def manifest_of(key: str) -> str | None:
    """The digest of the manifest under that key; None if no manifest has such a key."""
    found = _MANIFEST.fullmatch(key)
    return found and found[2]


def mark_of(key: str) -> Visible | None:
    """What the mark under that key says; None if it is no mark's."""
    found = _MARK.fullmatch(key)
    return found and Visible(found[1], found[2])


def quarantine_of(key: str) -> Visible | None:
    """Which manifest in which namespace is quarantined by the object under that key; None if it is no quarantine's."""
    found = _QUARANTINE.fullmatch(key)
    return found and Visible(found[1], found[2])
