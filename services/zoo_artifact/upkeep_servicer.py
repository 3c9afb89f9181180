"""UpkeepService on the wire: messages in, domain calls, messages out."""

from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import asdict
from typing import Any

import grpc
from google.protobuf.duration_pb2 import Duration

from zoo.artifact.v1 import upkeep_service_pb2 as pb
from zoo.artifact.v1 import upkeep_service_pb2_grpc as rpc
from zoo_artifact.check import Checked, Finding, Scope
from zoo_artifact.names import namespace_key
from zoo_artifact.rebuild import Rebuilt
from zoo_artifact.rules import FOR_OTHERS
from zoo_artifact.sweep import Swept
from zoo_artifact.sweep_tally import Counts
from zoo_artifact.upkeep import Upkeep
from zoo_artifact.upkeep_state import Sweeping
from zoo_artifact.usage import NamespaceUsage, StoreUsage
from zoo_server.authorization import enforce
from zoo_server.call import current_principal

__all__ = ["UpkeepServicer"]

Context = grpc.aio.ServicerContext[Any, Any]

SAMPLE = 0.01


class UpkeepServicer(rpc.UpkeepServiceServicer):
    def __init__(self, upkeep: Upkeep) -> None:
        self._upkeep = upkeep

    async def Sweep(self, request: pb.SweepRequest, context: Context) -> AsyncGenerator[pb.SweepResponse]:
        async with aclosing(self._upkeep.sweep(dry_run=request.dry_run)) as events:
            async for event in events:
                if isinstance(event, Swept):
                    yield pb.SweepResponse(result=swept_to_pb(event, await self._upkeep.sweeping()))
                else:
                    yield pb.SweepResponse(progress=counts_to_pb(event))

    async def SetSweeping(self, request: pb.SetSweepingRequest, context: Context) -> pb.SetSweepingResponse:
        sweeping = await self._upkeep.state.set_frozen(request.frozen, request.reason)
        return pb.SetSweepingResponse(sweeping=sweeping_to_pb(sweeping))

    async def GetSweeping(self, request: pb.GetSweepingRequest, context: Context) -> pb.GetSweepingResponse:
        return pb.GetSweepingResponse(sweeping=sweeping_to_pb(await self._upkeep.sweeping()))

    async def GetUsage(self, request: pb.GetUsageRequest, context: Context) -> pb.GetUsageResponse:
        if request.namespace:
            found = await self._upkeep.usages.of_namespaces(namespace_key(request.namespace))
            return pb.GetUsageResponse(namespaces=map(usage_to_pb, found))
        return pb.GetUsageResponse(
            namespaces=map(usage_to_pb, await self._upkeep.usages.of_namespaces()),
            store=store_to_pb(await self._upkeep.usages.of_store()),
        )

    async def Check(self, request: pb.CheckRequest, context: Context) -> AsyncGenerator[pb.CheckResponse]:
        async with aclosing(self._upkeep.check(scope_from_pb(request))) as events:
            async for event in events:
                yield checked_to_pb(event) if isinstance(event, Checked) else finding_to_pb(event)

    async def RebuildIndex(
        self, request: pb.RebuildIndexRequest, context: Context
    ) -> AsyncGenerator[pb.RebuildIndexResponse]:
        async with aclosing(self._upkeep.rebuild()) as events:
            async for rebuilt in events:
                yield rebuilt_to_pb(rebuilt)

    async def ConfirmPins(self, request: pb.ConfirmPinsRequest, context: Context) -> pb.ConfirmPinsResponse:
        principal = current_principal()
        holder = request.holder or principal.subject
        if holder != principal.subject:
            enforce(FOR_OTHERS, principal, request)
        sweeping = await self._upkeep.state.confirm(holder, request.index_id)
        return pb.ConfirmPinsResponse(sweeping=sweeping_to_pb(sweeping))


def scope_from_pb(request: pb.CheckRequest) -> Scope:
    sample = request.sample if request.HasField("sample") else SAMPLE
    return Scope(1.0 if request.full else sample, request.repair)


def counts_to_pb(counts: Counts) -> pb.SweepCounts:
    return pb.SweepCounts(**asdict(counts))


def swept_to_pb(swept: Swept, sweeping: Sweeping) -> pb.SweepResult:
    return pb.SweepResult(
        counts=counts_to_pb(swept.counts),
        failures=swept.failures,
        duration=_duration(swept.duration_s),
        dry_run=swept.dry_run,
        sweeping=sweeping_to_pb(sweeping),
    )


def sweeping_to_pb(sweeping: Sweeping) -> pb.Sweeping:
    message = pb.Sweeping(
        frozen=sweeping.frozen,
        reason=sweeping.reason,
        rebuilding=sweeping.rebuilding,
        awaited_holders=sweeping.awaited,
        index_id=sweeping.index_id,
        grace=_duration(sweeping.grace.total_seconds()),
    )
    if sweeping.sweep_time is not None:
        message.sweep_time.FromDatetime(sweeping.sweep_time)
    return message


def usage_to_pb(usage: NamespaceUsage) -> pb.Usage:
    return pb.Usage(
        namespace=usage.namespace,
        manifest_count=usage.manifests,
        logical_bytes=usage.logical_bytes,
        blob_count=usage.blobs,
        physical_bytes=usage.physical_bytes,
        exclusive_bytes=usage.exclusive_bytes,
    )


def store_to_pb(usage: StoreUsage) -> pb.StoreUsage:
    return pb.StoreUsage(
        manifest_count=usage.manifests,
        logical_bytes=usage.logical_bytes,
        blob_count=usage.blobs,
        physical_bytes=usage.physical_bytes,
        unreferenced_bytes=usage.unreferenced_bytes,
    )


def finding_to_pb(finding: Finding) -> pb.CheckResponse:
    message = pb.Finding(
        kind=pb.FindingKind.Value(f"FINDING_KIND_{finding.kind.value}"),
        resource=finding.resource,
        detail=finding.detail,
        repaired=finding.repaired,
    )
    return pb.CheckResponse(finding=message)


def checked_to_pb(checked: Checked) -> pb.CheckResponse:
    if not checked.done:
        progress = pb.CheckProgress(
            checked_count=checked.rows, total_count=checked.total, read_bytes=checked.read_bytes
        )
        return pb.CheckResponse(progress=progress)
    result = pb.CheckResult(
        checked_count=checked.rows,
        read_bytes=checked.read_bytes,
        finding_count=checked.findings,
        repaired_count=checked.repaired,
        duration=_duration(checked.duration_s),
    )
    return pb.CheckResponse(result=result)


def rebuilt_to_pb(rebuilt: Rebuilt) -> pb.RebuildIndexResponse:
    return pb.RebuildIndexResponse(
        blob_count=rebuilt.blobs,
        manifest_count=rebuilt.manifests,
        damaged_count=rebuilt.damaged,
        done=rebuilt.sweeping is not None,
        sweeping=None if rebuilt.sweeping is None else sweeping_to_pb(rebuilt.sweeping),
    )


def _duration(seconds: float) -> Duration:
    duration = Duration()
    duration.FromNanoseconds(round(seconds * 1e9))
    return duration
