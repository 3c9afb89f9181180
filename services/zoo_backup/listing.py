"""What lay in the bucket, as a backup lists it: a JSON line for each object."""

import base64
import json
from collections.abc import AsyncIterator, Iterable, Iterator
from dataclasses import dataclass, field

from modelzoo.errors import InvalidArgument
from modelzoo.manifest import Manifest
from zoo_artifact.keys import (
    Visible,
    blob_key,
    blob_of,
    manifest_key,
    manifest_of,
    mark_key,
    mark_of,
    quarantine_of,
)
from zoo_backup.folder import Folder

__all__ = ["Listing", "lacking"]


@dataclass(slots=True)
class Listing:
    """Sizes in bytes of blobs and manifests by their keys; marks and quarantines, which come and go, with content."""

    content: dict[str, int] = field(default_factory=dict[str, int])
    small: dict[str, bytes] = field(default_factory=dict[str, bytes])

    def marks(self) -> list[Visible]:
        return [mark for key in self.small if (mark := mark_of(key))]

    def count(self, kind: str) -> int:
        """Of blobs, manifests, marks or quarantines."""
        tell = {"blobs": blob_of, "manifests": manifest_of, "marks": mark_of, "quarantines": quarantine_of}[kind]
        return sum(tell(key) is not None for keys in (self.content, self.small) for key in keys)

    async def lines(self) -> AsyncIterator[bytes]:
        for key, size in sorted(self.content.items()):
            yield _line({"key": key, "size": size})
        for key, data in sorted(self.small.items()):
            yield _line({"key": key, "data": base64.b64encode(data).decode()})

    @classmethod
    def from_lines(cls, lines: Iterable[bytes]) -> "Listing":
        """Raises ValueError or KeyError for lines of another kind."""
        listing = cls()
        for line in lines:
            found = json.loads(line)
            if "data" in found:
                listing.small[found["key"]] = base64.b64decode(found["data"])
            else:
                listing.content[found["key"]] = found["size"]
        return listing


def lacking(listing: Listing, folder: Folder, held: Iterable[Visible]) -> Iterator[str]:
    """In sentences, what is named by rows or marks and not in the listing: none means that the backup is whole."""
    reasons: dict[str, str] = {}
    for visible in sorted({*listing.marks(), *held}):
        if visible.digest not in reasons:
            reasons[visible.digest] = _lacks(listing, folder, visible.digest)
        if reasons[visible.digest]:
            yield f"the manifest sha256:{visible.digest} in {visible.namespace}: {reasons[visible.digest]}"
        elif mark_key(visible) not in listing.small:
            yield f"the manifest sha256:{visible.digest} is not visible in {visible.namespace}"


def _lacks(listing: Listing, folder: Folder, digest: str) -> str:
    """Why the manifest cannot be read back; empty: it can."""
    key = manifest_key(digest)
    if key not in listing.content:
        return "it is damaged, or not there"
    try:
        named = Manifest.from_bytes(folder.read(key)).unique_blobs()
    except InvalidArgument:
        return "this release cannot read it"
    except FileNotFoundError:
        return "its file is gone"
    without = [blob for blob, size in named.items() if listing.content.get(blob_key(blob)) != size]
    return f"{len(without)} of its blobs are damaged or not there, {without[0]} first" if without else ""


def _line(value: object) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode() + b"\n"
