"""Deleting what nobody holds. Every step may be repeated, and whatever a step left undone the next sweep ends.

    pins that expired -> manifests that nothing keeps in a namespace -> manifests that are nowhere visible
    -> blobs that no manifest names -> objects that the index does not know

Each of them is claimed in SQL, then its object is deleted, then its row. So a row may be there without its object only
in the state `deleting`, and a writer of the same content either touches it before the claim, which then fails, or waits
until the row is gone and stores it anew.
"""

import logging
import time
from collections.abc import AsyncGenerator
from dataclasses import dataclass, replace

from zoo_artifact.bucket import Bucket
from zoo_artifact.keys import Visible, blob_key, manifest_key, mark_key
from zoo_artifact.leftovers import Leftovers
from zoo_artifact.sweep_index import SweepIndex
from zoo_artifact.sweep_tally import Counts, Tally
from zoo_artifact.upkeep_state import Lease, UpkeepState

__all__ = ["Sweeper", "Swept"]

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Swept:
    """The end of a sweep."""

    counts: Counts
    failures: tuple[str, ...]
    duration_s: float
    dry_run: bool


class Sweeper:
    def __init__(self, bucket: Bucket, index: SweepIndex, state: UpkeepState, leftovers: Leftovers) -> None:
        self._bucket = bucket
        self._index = index
        self._state = state
        self._leftovers = leftovers

    async def sweep(self) -> AsyncGenerator[Counts | Swept]:
        """Sweep; yields what was done so far now and then, the result at last.

        Raises SWEEPING_OFF, UPKEEP_RUNNING, and STORAGE_UNAVAILABLE where the bucket cannot be listed.
        """
        started, tally = time.monotonic(), Tally(self._bucket)
        await self._state.require_on()
        async with self._state.lease() as lease:
            tally.counts.expired_pins = await self._index.expire_pins()
            async for _ in self._sweep_index(lease, tally):
                yield replace(tally.counts)
            async for _ in self._leftovers.sweep(lease, tally):
                yield replace(tally.counts)
            await self._state.note_end("sweep")
        swept = Swept(replace(tally.counts), tuple(tally.failures), time.monotonic() - started, dry_run=False)
        log.info("swept: %s in %.1f s", swept.counts, swept.duration_s)
        yield swept

    async def estimate(self) -> AsyncGenerator[Counts | Swept]:
        """As `sweep` would, deleting nothing. It needs neither the lease nor that sweeping is on."""
        started, tally = time.monotonic(), Tally(self._bucket)
        found = await self._index.estimate()
        tally.counts.expired_pins = found.expired_pins
        tally.counts.hidden_manifests = found.hidden_manifests
        tally.counts.deleted_manifests = found.deleted_manifests
        tally.counts.deleted_blobs = found.deleted_blobs
        tally.counts.deleted_bytes = found.deleted_bytes
        yield replace(tally.counts)
        async for _ in self._leftovers.estimate(tally):
            yield replace(tally.counts)
        yield Swept(replace(tally.counts), tuple(tally.failures), time.monotonic() - started, dry_run=True)

    async def _sweep_index(self, lease: Lease, tally: Tally) -> AsyncGenerator[None]:
        cutoff = await self._index.cutoff()
        last: Visible | None = None
        await lease.keep()
        while unheld := await self._index.claim_unheld(cutoff, last):
            last = unheld[-1]
            gone = await tally.delete({each: mark_key(each) for each in unheld})
            await self._index.forget_unheld(gone, cutoff)
            tally.counts.hidden_manifests += len(gone)
            yield
            await lease.keep()
        digest = ""
        while nowhere := await self._index.claim_manifests(cutoff, digest):
            digest = nowhere[-1]
            gone = await tally.delete({each: manifest_key(each) for each in nowhere})
            await self._index.forget_manifests(gone)
            tally.counts.deleted_manifests += len(gone)
            yield
            await lease.keep()
        digest = ""
        while unused := await self._index.claim_blobs(cutoff, digest):
            digest = unused[-1].digest
            gone = await tally.delete({each: blob_key(each.digest) for each in unused})
            await self._index.forget_blobs([each.digest for each in gone])
            tally.counts.deleted_blobs += len(gone)
            tally.counts.deleted_bytes += sum(each.size for each in gone)
            yield
            await lease.keep()
