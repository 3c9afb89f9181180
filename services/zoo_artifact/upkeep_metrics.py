"""What Prometheus learns of upkeep."""

from collections import Counter as Tally
from collections.abc import Mapping

import prometheus_client

from zoo_artifact.check import Kind
from zoo_artifact.sweep_tally import Counts

__all__ = ["observe_check", "observe_sweep"]

_FINDINGS = prometheus_client.Gauge("zoo_artifact_check_findings", "Findings of the last check, by kind.", ["kind"])
_CHECKS = prometheus_client.Counter("zoo_artifact_checks_total", "Checks that came to their end.")
_DELETED_BYTES = prometheus_client.Counter("zoo_artifact_deleted_bytes_total", "Bytes that sweeps deleted.")
_FAILED = prometheus_client.Gauge("zoo_artifact_sweep_failures", "Deletions that failed in the last sweep.")
_SWEEPS = prometheus_client.Counter("zoo_artifact_sweeps_total", "Sweeps that came to their end.")


def observe_check(findings: Mapping[Kind, int]) -> None:
    counted = Tally(findings)
    for kind in Kind:
        _FINDINGS.labels(kind.value.lower()).set(counted[kind])
    _CHECKS.inc()


def observe_sweep(counts: Counts) -> None:
    _DELETED_BYTES.inc(counts.deleted_bytes + counts.leftover_bytes)
    _FAILED.set(counts.failed)
    _SWEEPS.inc()
