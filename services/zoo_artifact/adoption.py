"""Taking into the index what lies in the bucket: the bucket is the truth, and an index may be younger than it."""

import asyncio

from modelzoo.manifest import Manifest
from zoo_artifact.bucket import Bucket
from zoo_artifact.index import DAMAGED, Index
from zoo_artifact.keys import Visible
from zoo_artifact.quarantines import Quarantines
from zoo_artifact.schema import STORED
from zoo_artifact.storage import Storage
from zoo_artifact.upkeep_state import UpkeepState

__all__ = ["Adoption"]

LOOKING_AT_ONCE = 16


class Adoption:
    def __init__(self, storage: Storage, bucket: Bucket, index: Index, state: UpkeepState) -> None:
        self._storage = storage
        self._bucket = bucket
        self._index = index
        self._state = state
        self._quarantines = Quarantines(index.database)

    async def adopt_unknown(self, visible: Visible) -> bool:
        """Adopt the manifest if the index is being rebuilt and the bucket says that it is visible; whether it is now.

        So that readers and holders need not wait until a rebuild has come to what they name.
        """
        if not await self._state.is_rebuilding() or not await self._bucket.has_mark(visible):
            return False
        await self.adopt(visible)
        return True

    async def adopt(self, visible: Visible) -> None:
        """Make the manifest visible in the index, with rows for its blobs: damaged where the bucket has them not.

        Raises DataLoss where it is damaged or gone itself, InvalidArgument where this release cannot read it, and
        Unavailable while it is being deleted.
        """
        data = await self._storage.get_manifest(visible.digest)
        manifest = await asyncio.to_thread(Manifest.from_bytes, data)
        states = await self._states(manifest)
        quarantine = await self._storage.get_quarantine(visible)
        if quarantine is not None:  # before anybody can see it
            await self._quarantines.put(visible, quarantine)
        await self._index.adopt(visible.namespace, visible.digest, manifest, states)
        if quarantine is not None:  # and once more, for the blobs that it brought
            await self._quarantines.put(visible, quarantine)

    async def _states(self, manifest: Manifest) -> dict[str, str]:
        """Of those blobs that the index does not know."""
        named = manifest.unique_blobs()
        known = await self._index.known_blobs(list(named))
        places = asyncio.Semaphore(LOOKING_AT_ONCE)

        async def look(digest: str) -> tuple[str, str]:
            async with places:
                return digest, STORED if await self._bucket.blob_size(digest) == named[digest] else DAMAGED

        return dict(await asyncio.gather(*(look(digest) for digest in named if digest not in known)))
