"""What the upkeep of the artifact store answers: plain values, the same whatever the wire looks like."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

__all__ = ["CheckResult", "Finding", "Rebuilt", "StoreUsage", "SweepResult", "Sweeping", "Told", "Usage"]

# Hears a few words now and then: how far the work is.
Told = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Sweeping:
    """`reason` says why sweeping is off; empty: it is on."""

    frozen: bool
    reason: str
    rebuilding: bool
    awaited_holders: tuple[str, ...]
    index_id: str
    sweep_time: datetime | None
    grace_s: float


@dataclass(frozen=True, slots=True)
class SweepResult:
    """What was deleted, or would be. `failures` are tried again by the next sweep."""

    expired_pins: int
    hidden_manifests: int
    deleted_manifests: int
    deleted_blobs: int
    deleted_bytes: int
    deleted_leftovers: int
    leftover_bytes: int
    adopted_manifests: int
    failed: int
    failures: tuple[str, ...]
    seconds: float
    dry_run: bool
    sweeping: Sweeping


@dataclass(frozen=True, slots=True)
class Usage:
    """`exclusive_bytes` are of blobs that no other namespace uses: what deleting this one would free."""

    namespace: str
    manifest_count: int
    logical_bytes: int
    blob_count: int
    physical_bytes: int
    exclusive_bytes: int


@dataclass(frozen=True, slots=True)
class StoreUsage:
    manifest_count: int
    logical_bytes: int
    blob_count: int
    physical_bytes: int
    unreferenced_bytes: int


@dataclass(frozen=True, slots=True)
class Finding:
    """`kind` is a name of FindingKind without its prefix."""

    kind: str
    resource: str
    detail: str
    repaired: bool


@dataclass(frozen=True, slots=True)
class CheckResult:
    findings: tuple[Finding, ...]
    checked_count: int
    read_bytes: int
    repaired_count: int
    seconds: float


@dataclass(frozen=True, slots=True)
class Rebuilt:
    """What the index took up. `damaged_count` objects could not be."""

    blob_count: int
    manifest_count: int
    damaged_count: int
    sweeping: Sweeping
