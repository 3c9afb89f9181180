"""The upkeep of one artifact service, composed: sweeping, checking, counting, rebuilding."""

from collections import Counter
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from datetime import timedelta

from zoo_artifact.adoption import Adoption
from zoo_artifact.bucket import Bucket
from zoo_artifact.check import Checked, Checker, Finding, Kind, Scope
from zoo_artifact.check_index import CheckIndex
from zoo_artifact.index import Index
from zoo_artifact.leftovers import Leftovers
from zoo_artifact.quarantines import Quarantines
from zoo_artifact.rebuild import Rebuilder, Rebuilt
from zoo_artifact.storage import Storage
from zoo_artifact.sweep import Sweeper, Swept
from zoo_artifact.sweep_index import SweepIndex
from zoo_artifact.sweep_tally import Counts
from zoo_artifact.upkeep_metrics import observe_check, observe_sweep
from zoo_artifact.upkeep_state import Sweeping, UpkeepState
from zoo_artifact.usage import Usages
from zoo_store.blobs import BlobStore
from zoo_store.sql import Database

__all__ = ["GRACE", "HOLDERS", "Upkeep"]

GRACE = timedelta(hours=24)
HOLDERS = ("service:catalog",)


class Upkeep:
    """Keeps `grace` of what was touched; after a rebuild of the index waits for the `holders`."""

    def __init__(
        self,
        store: BlobStore,
        storage: Storage,
        database: Database,
        grace: timedelta = GRACE,
        holders: Sequence[str] = HOLDERS,
    ) -> None:
        bucket, index = Bucket(store), Index(database)
        sweep_index, check_index = SweepIndex(database, grace), CheckIndex(database)
        quarantines = Quarantines(database)
        self.state = UpkeepState(database, grace, holders)
        self.adoption = Adoption(storage, bucket, index, self.state)
        self.usages = Usages(database)
        leftovers = Leftovers(bucket, index, sweep_index, self.adoption, grace)
        self._sweeper = Sweeper(bucket, sweep_index, self.state, leftovers)
        self._checker = Checker(storage, bucket, index, check_index, sweep_index, quarantines, self.adoption)
        self._rebuilder = Rebuilder(bucket, check_index, self.adoption, self.state)

    async def prepare(self) -> bool:
        """As `Rebuilder.prepare`."""
        return await self._rebuilder.prepare()

    def rebuild(self) -> AsyncGenerator[Rebuilt]:
        """As `Rebuilder.rebuild`."""
        return self._rebuilder.rebuild()

    async def sweep(self, *, dry_run: bool = False) -> AsyncGenerator[Counts | Swept]:
        """As `Sweeper.sweep`, or `Sweeper.estimate`."""
        events = self._sweeper.estimate() if dry_run else self._sweeper.sweep()
        async with aclosing(events):
            async for event in events:
                if isinstance(event, Swept) and not dry_run:
                    observe_sweep(event.counts)
                yield event

    async def check(self, scope: Scope) -> AsyncGenerator[Finding | Checked]:
        """As `Checker.check`; its findings are counted. Where every byte was read and nothing but leftovers found,
        sweeping need no longer wait for that."""
        found: Counter[Kind] = Counter()
        index_id = (await self.sweeping()).index_id
        async with aclosing(self._checker.check(scope)) as events:
            async for event in events:
                if isinstance(event, Finding):
                    found[event.kind] += 1
                elif event.done:
                    observe_check(found)
                    # Leftovers are what sweeps are for.
                    if scope.sample >= 1 and not found.keys() - {Kind.OBJECT_UNKNOWN}:
                        await self.state.note_agreement(index_id)
                yield event

    async def scrub(self, sample: float, bytes_per_s: float) -> AsyncGenerator[Finding | Checked]:
        """A check of a sample, slow enough to disturb nobody. Damaged blobs are marked, so that pushes mend them."""
        async with aclosing(self.check(Scope(sample, repair=True, bytes_per_s=bytes_per_s))) as events:
            async for event in events:
                yield event
        await self.state.note_end("scrub")

    async def is_due(self, what: str, interval: timedelta) -> bool:
        """Whether a `sweep` or `scrub` is due, and may be. An interval of zero: never."""
        if not interval or (what == "sweep" and (await self.sweeping()).reason):
            return False
        return await self.state.is_due(what, interval)

    async def sweeping(self) -> Sweeping:
        return await self.state.get()
