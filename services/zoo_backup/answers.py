"""What the commands answer: for people, and as plain values for programs."""

from dataclasses import asdict

from modelzoo.command.terminal import line, note, size_text
from zoo_backup.make import Made
from zoo_backup.record import Record
from zoo_backup.restore import Restored
from zoo_backup.verify import Verified

__all__ = [
    "made_answer",
    "restored_answer",
    "show_made",
    "show_restored",
    "show_verified",
    "verified_answer",
]

SHOWN = 20


def made_answer(made: Made) -> dict[str, object]:
    return {**_summary(made.record), "copied": made.copied, "copied_bytes": made.copied_bytes}


def show_made(made: Made) -> None:
    objects = made.record.objects
    line(
        f"backup {made.record.id[:12]} of {made.record.time}: {objects.manifests} manifests, {objects.blobs} blobs, "
        f"{size_text(objects.size_bytes)}, of which {size_text(made.copied_bytes)} were copied now"
    )
    _show_lacking(made.record)


def verified_answer(verified: Verified) -> dict[str, object]:
    return {**_summary(verified.record), "read_bytes": verified.read_bytes, "faults": verified.faults}


def show_verified(verified: Verified) -> None:
    for fault in verified.faults[:SHOWN]:
        line(fault)
    words = f"{len(verified.faults)} faults" if verified.faults else "every byte is what it was"
    record = verified.record
    line(f"backup {record.id[:12]} of {record.time}: {words}, {size_text(verified.read_bytes)} read")
    _show_lacking(record)


def restored_answer(restored: Restored) -> dict[str, object]:
    return {
        **_summary(restored.record),
        "replaced": restored.replaced,
        "put": restored.put,
        "put_bytes": restored.put_bytes,
        "findings": [{**asdict(finding), "kind": finding.kind.value} for finding in restored.findings],
        "sweeping_off": restored.sweeping.reason,
    }


def show_restored(restored: Restored) -> None:
    record = restored.record
    line(
        f"restored backup {record.id[:12]} of {record.time}: {restored.put} objects put, "
        f"{size_text(restored.put_bytes)}; the others were in the bucket already"
    )
    for finding in restored.findings[:SHOWN]:
        line(f"{finding.kind.value.lower().replace('_', ' ')}: {finding.resource}: {finding.detail}")
    line(f"fsck: every byte read, {len(restored.findings)} findings")
    if restored.sweeping.reason:
        note(f"sweeping is off: {restored.sweeping.reason}")
    _show_lacking(record)


def _summary(record: Record) -> dict[str, object]:
    rows = {rows.service: rows.counts for rows in record.rows}
    content = {name: value for name, value in asdict(record.objects).items() if name not in ("file", "sha256")}
    return {"id": record.id, "time": record.time, "rows": rows, "objects": content, "lacking": record.lacking}


def _show_lacking(record: Record) -> None:
    for sentence in record.lacking[:SHOWN]:
        note(f"the bucket did not have it when the backup was made: {sentence}")
