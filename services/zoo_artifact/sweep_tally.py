"""What a sweep has done so far, and its deletions: one that fails is told and left for the next sweep."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TypeVar

from modelzoo.errors import ZooError
from zoo_artifact.bucket import Bucket

__all__ = ["Counts", "Tally"]

DELETING_AT_ONCE = 8
FAILURES_KEPT = 100

T = TypeVar("T")


@dataclass(slots=True)
class Counts:
    """As SweepCounts of the API."""

    expired_pins: int = 0
    hidden_manifests: int = 0
    deleted_manifests: int = 0
    deleted_blobs: int = 0
    deleted_bytes: int = 0
    deleted_leftovers: int = 0
    leftover_bytes: int = 0
    adopted_manifests: int = 0
    failed: int = 0


@dataclass(slots=True)
class Tally:
    bucket: Bucket
    counts: Counts = field(default_factory=Counts)
    failures: list[str] = field(default_factory=list[str])

    async def delete(self, keys: Mapping[T, str]) -> list[T]:
        """Delete the objects under these keys, several at once; those that are gone now."""
        places = asyncio.Semaphore(DELETING_AT_ONCE)

        async def delete(key: str) -> bool:
            async with places:
                try:
                    await self.bucket.delete(key)
                except ZooError as error:
                    self.fail(f"{key}: {error.message}")
                    return False
                return True

        gone = await asyncio.gather(*(delete(key) for key in keys.values()))
        return [each for each, is_gone in zip(keys, gone, strict=True) if is_gone]

    def fail(self, what: str) -> None:
        self.counts.failed += 1
        if len(self.failures) < FAILURES_KEPT:
            self.failures.append(what)
