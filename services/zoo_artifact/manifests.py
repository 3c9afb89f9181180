"""Parsed manifests, the ones read last kept in memory: a pull asks for its manifest once a file or oftener."""

import asyncio
from collections import OrderedDict
from dataclasses import dataclass

from modelzoo.manifest import Manifest
from zoo_artifact.storage import Storage

__all__ = ["Manifests"]

# Of canonical JSON; parsed, they take about four times as much.
KEPT_BYTES = 32 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class _Kept:
    manifest: Manifest
    size_bytes: int


class Manifests:
    def __init__(self, storage: Storage) -> None:
        self._storage = storage
        self._kept: OrderedDict[str, _Kept] = OrderedDict()
        self._kept_bytes = 0

    async def get(self, digest: str) -> Manifest:
        """The manifest of that digest, which must have been put. Raises as `Storage.get_manifest`."""
        kept = self._kept.get(digest)
        if kept is None:
            data = await self._storage.get_manifest(digest)
            kept = _Kept(await asyncio.to_thread(Manifest.from_bytes, data), len(data))
            self._keep(digest, kept)
        else:
            self._kept.move_to_end(digest)
        return kept.manifest

    def _keep(self, digest: str, new: _Kept) -> None:
        if digest in self._kept or new.size_bytes > KEPT_BYTES:
            return
        self._kept[digest] = new
        self._kept_bytes += new.size_bytes
        while self._kept_bytes > KEPT_BYTES:
            _, old = self._kept.popitem(last=False)
            self._kept_bytes -= old.size_bytes
