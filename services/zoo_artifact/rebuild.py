"""The index from the bucket alone. Sweeping is off from the beginning until holders have pinned again.

Blobs first, by their names and sizes, then every manifest that a mark makes visible; what readers and holders ask for
meanwhile is taken in before its turn (`Adoption.adopt_unknown`). Broken off, it is begun anew: nothing is done twice.
"""

import asyncio
import logging
from collections.abc import AsyncGenerator
from dataclasses import dataclass, replace

from modelzoo.errors import DataLoss, InvalidArgument
from modelzoo.manifest import BLOB_BYTES_MAX, Blob
from zoo_artifact.adoption import Adoption
from zoo_artifact.bucket import Bucket
from zoo_artifact.check_index import CheckIndex
from zoo_artifact.index import BeingDeleted
from zoo_artifact.keys import BLOBS, MARKS, Visible, blob_of, mark_key, mark_of
from zoo_artifact.upkeep_state import Sweeping, UpkeepState

__all__ = ["Rebuilder", "Rebuilt"]

ADOPTING_AT_ONCE = 8

log = logging.getLogger(__name__)


@dataclass(slots=True)
class Rebuilt:
    """What was found so far; `sweeping` is set at the end. Manifests are counted in each namespace."""

    blobs: int = 0
    manifests: int = 0
    damaged: int = 0
    sweeping: Sweeping | None = None


class Rebuilder:
    def __init__(self, bucket: Bucket, index: CheckIndex, adoption: Adoption, state: UpkeepState) -> None:
        self._bucket = bucket
        self._index = index
        self._adoption = adoption
        self._state = state

    async def prepare(self) -> bool:
        """Whether there is something to rebuild: an empty index beside a bucket with content, or a rebuild that broke
        off. From then on nothing is swept. To be asked before anybody is served."""
        if await self._index.is_empty() and await self._bucket.has_content():
            log.warning("the index is empty and the bucket is not: it will be rebuilt; sweeping is off")
            await self._state.begin_rebuild()
        return await self._state.is_rebuilding()

    async def rebuild(self) -> AsyncGenerator[Rebuilt]:
        """Rebuild; yields what was found so far now and then, and at the end.

        Raises UPKEEP_RUNNING, and STORAGE_UNAVAILABLE where the bucket does not answer: sweeping stays off then.
        """
        found = Rebuilt()
        async with self._state.lease() as lease:
            await self._state.begin_rebuild()
            async for page in self._bucket.pages(BLOBS):
                await lease.keep(sweeping=False)
                blobs = [
                    Blob(digest, info.size_bytes)
                    for info in page
                    if 0 < info.size_bytes <= BLOB_BYTES_MAX and (digest := blob_of(info.key))
                ]
                await self._index.add_blobs(blobs)
                found.blobs += len(blobs)
                yield replace(found)
            async for page in self._bucket.pages(MARKS):
                marks = [mark for info in page if (mark := mark_of(info.key))]
                for at in range(0, len(marks), ADOPTING_AT_ONCE):
                    await lease.keep(sweeping=False)
                    adopted = await asyncio.gather(*map(self._adopt, marks[at : at + ADOPTING_AT_ONCE]))
                    found.manifests += sum(adopted)
                    found.damaged += len(adopted) - sum(adopted)
                    yield replace(found)
            await self._index.recount()
            found.sweeping = await self._state.end_rebuild()
        log.info("index rebuilt: %d blobs, %d manifests, %d damaged", found.blobs, found.manifests, found.damaged)
        yield found

    async def _adopt(self, mark: Visible) -> bool:
        try:
            await self._adoption.adopt(mark)
        except (DataLoss, InvalidArgument) as error:
            log.error("%s cannot be taken into the index: %s", mark_key(mark), error.message)
            return False
        except BeingDeleted:
            return False
        return True
