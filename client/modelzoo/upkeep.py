"""Looking after the artifact store: the part of the client for administrators, and usage for everybody."""

from collections.abc import Callable
from datetime import UTC

import grpc
from google.protobuf.duration_pb2 import Duration

from modelzoo.attempts import answers
from modelzoo.calls import building, translated
from modelzoo.errors import Interrupted
from modelzoo.upkeep_records import CheckResult, Finding, Rebuilt, StoreUsage, Sweeping, SweepResult, Told, Usage
from zoo.artifact.v1 import upkeep_service_pb2 as pb
from zoo.artifact.v1 import upkeep_service_pb2_grpc as rpc

__all__ = ["Upkeep"]


class Upkeep:
    """Long work tells `told` how far it is. Whatever breaks off may be repeated."""

    def __init__(self, channel: grpc.Channel) -> None:
        self._stub = rpc.UpkeepServiceStub(channel)

    def sweep(self, *, dry_run: bool = False, told: Told | None = None) -> SweepResult:
        """Delete what nobody holds, or say what that would delete. Raises SWEEPING_OFF, UPKEEP_RUNNING."""
        for response in answers(lambda: self._stub.Sweep(pb.SweepRequest(dry_run=dry_run))):
            if response.HasField("result"):
                return _sweep_result(response.result)
            _tell(told, lambda counts=response.progress: f"{counts.deleted_blobs + counts.deleted_leftovers} blobs")
        raise _broken_off()

    def sweeping(self) -> Sweeping:
        """Whether sweeping is on, and if not, why."""
        with translated():
            return _sweeping(self._stub.GetSweeping(pb.GetSweepingRequest()).sweeping)

    def set_sweeping(self, *, frozen: bool, reason: str = "") -> Sweeping:
        """Freeze sweeping, or let it go on."""
        with building():
            request = pb.SetSweepingRequest(frozen=frozen, reason=reason)
        with translated():
            return _sweeping(self._stub.SetSweeping(request).sweeping)

    def usage(self, namespace: str) -> Usage:
        """What the namespace uses."""
        with building():
            request = pb.GetUsageRequest(namespace=namespace)
        with translated():
            return _usage(self._stub.GetUsage(request).namespaces[0])

    def usages(self) -> tuple[list[Usage], StoreUsage]:
        """What each namespace uses, and what the whole store does; for viewers of the whole cluster."""
        with translated():
            response = self._stub.GetUsage(pb.GetUsageRequest())
        return [_usage(usage) for usage in response.namespaces], _store(response.store)

    def check(
        self, *, full: bool = False, sample: float | None = None, repair: bool = False, told: Told | None = None
    ) -> CheckResult:
        """Compare the index with the object store; `sample` is the share of the blobs whose bytes are read."""
        findings: list[Finding] = []
        with building():
            request = pb.CheckRequest(full=full, sample=sample, repair=repair)
        for response in answers(lambda: self._stub.Check(request)):
            match response.WhichOneof("event"):
                case "finding":
                    findings.append(_finding(response.finding))
                case "result":
                    return _check_result(response.result, findings)
                case _:
                    progress = response.progress
                    _tell(
                        told, lambda p=progress: f"{p.checked_count} of {p.total_count}, {p.read_bytes >> 20} MiB read"
                    )
        raise _broken_off()

    def rebuild_index(self, *, told: Told | None = None) -> Rebuilt:
        """Take into the index what lies in the object store. Sweeping is off until holders have pinned again."""
        for response in answers(lambda: self._stub.RebuildIndex(pb.RebuildIndexRequest())):
            if response.done:
                return Rebuilt(
                    response.blob_count, response.manifest_count, response.damaged_count, _sweeping(response.sweeping)
                )
            _tell(told, lambda r=response: f"{r.blob_count} blobs, {r.manifest_count} manifests")
        raise _broken_off()

    def confirm_pins(self, index_id: str, holder: str = "") -> Sweeping:
        """Everything that the holder (the caller, if empty) holds is pinned in that index. Raises INDEX_CHANGED."""
        with building():
            request = pb.ConfirmPinsRequest(index_id=index_id, holder=holder)
        with translated():
            return _sweeping(self._stub.ConfirmPins(request).sweeping)


def _tell(told: Told | None, words: Callable[[], str]) -> None:
    if told is not None:
        told(words())


def _broken_off() -> Interrupted:
    return Interrupted("STREAM_INTERRUPTED", "The answer ended before its last message; run it again.")


def _sweeping(message: pb.Sweeping) -> Sweeping:
    return Sweeping(
        frozen=message.frozen,
        reason=message.reason,
        rebuilding=message.rebuilding,
        awaited_holders=tuple(message.awaited_holders),
        index_id=message.index_id,
        sweep_time=message.sweep_time.ToDatetime(UTC) if message.HasField("sweep_time") else None,
        grace_s=_seconds(message.grace),
    )


def _sweep_result(message: pb.SweepResult) -> SweepResult:
    counts = message.counts
    return SweepResult(
        expired_pins=counts.expired_pins,
        hidden_manifests=counts.hidden_manifests,
        deleted_manifests=counts.deleted_manifests,
        deleted_blobs=counts.deleted_blobs,
        deleted_bytes=counts.deleted_bytes,
        deleted_leftovers=counts.deleted_leftovers,
        leftover_bytes=counts.leftover_bytes,
        adopted_manifests=counts.adopted_manifests,
        failed=counts.failed,
        failures=tuple(message.failures),
        seconds=_seconds(message.duration),
        dry_run=message.dry_run,
        sweeping=_sweeping(message.sweeping),
    )


def _usage(message: pb.Usage) -> Usage:
    return Usage(
        namespace=message.namespace,
        manifest_count=message.manifest_count,
        logical_bytes=message.logical_bytes,
        blob_count=message.blob_count,
        physical_bytes=message.physical_bytes,
        exclusive_bytes=message.exclusive_bytes,
    )


def _store(message: pb.StoreUsage) -> StoreUsage:
    return StoreUsage(
        manifest_count=message.manifest_count,
        logical_bytes=message.logical_bytes,
        blob_count=message.blob_count,
        physical_bytes=message.physical_bytes,
        unreferenced_bytes=message.unreferenced_bytes,
    )


def _finding(message: pb.Finding) -> Finding:
    kind = pb.FindingKind.Name(message.kind).removeprefix("FINDING_KIND_")
    return Finding(kind, message.resource, message.detail, message.repaired)


def _check_result(message: pb.CheckResult, findings: list[Finding]) -> CheckResult:
    return CheckResult(
        findings=tuple(findings),
        checked_count=message.checked_count,
        read_bytes=message.read_bytes,
        repaired_count=message.repaired_count,
        seconds=_seconds(message.duration),
    )


def _seconds(duration: Duration) -> float:
    return duration.ToNanoseconds() / 1e9
