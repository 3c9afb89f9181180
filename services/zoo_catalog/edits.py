"""What changes of a published version: labels, metrics, and whether it should still be used."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Row, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from modelzoo import reference as references
from modelzoo.errors import FailedPrecondition, InvalidArgument, NotFound
from modelzoo.reference import Reference, parse
from zoo_catalog import changes
from zoo_catalog.etags import check_etag
from zoo_catalog.metrics import METRICS_MOST, Metric, metric_to_json, replaced
from zoo_catalog.models import model_row
from zoo_catalog.names import parse_model
from zoo_catalog.schema import alias_targets, versions
from zoo_catalog.states import change_state
from zoo_catalog.version_rows import put_label_rows, put_metric_rows
from zoo_catalog.versions import USABLE, Version, VersionState, get_version, version_not_found
from zoo_store.sql import Database

__all__ = ["MetricEdit", "VersionEdit", "VersionEdits"]

LABELS_MOST = 64


@dataclass(frozen=True, slots=True)
class VersionEdit:
    """What is to become of a version; None: as it is. `label_edits` come after `labels`; None removes a label."""

    labels: Mapping[str, str] | None = None
    label_edits: Mapping[str, str | None] = field(default_factory=dict[str, str | None])
    state: VersionState | None = None
    state_reason: str | None = None


@dataclass(frozen=True, slots=True)
class MetricEdit:
    """Numbers by name, measured with one split of a dataset."""

    dataset: str
    split: str
    values: Mapping[str, float]


class VersionEdits:
    def __init__(self, database: Database) -> None:
        self._database = database

    async def update(self, model: str, number: int, edit: VersionEdit, etag: str, actor: str) -> Version:
        """Change labels, and move the state between READY and DEPRECATED. What changes nothing is not recorded.

        Raises REFERENCE_INVALID, MODEL_NOT_FOUND, VERSION_NOT_FOUND, ETAG_MISMATCH, VERSION_STATE_INVALID, and
        FIELD_INVALID for too many labels.
        """
        path = parse_model(model)
        async with self._database.write() as connection:
            row = await model_row(connection, path)
            version = await get_version(connection, row, number)
            check_etag(etag, version.etag, version.reference)
            _require_published(version)
            await _move(connection, row, version, edit, actor)
            await _label(connection, row, version, edit, actor)
            return await get_version(connection, row, number)

    async def set_metrics(self, text: str, edit: MetricEdit, actor: str) -> Version:
        """Set finite numbers of the version that the reference means, in place of those of the same names.

        Raises REFERENCE_INVALID (where it means several versions too), MODEL_NOT_FOUND, VERSION_NOT_FOUND,
        ALIAS_NOT_FOUND, VERSION_STATE_INVALID, and FIELD_INVALID for too many metrics.
        """
        reference = parse(text)
        async with self._database.write() as connection:
            row = await model_row(connection, reference.model)
            version = await get_version(connection, row, await _number(connection, row, reference))
            _require_published(version)
            time = await changes.current_time(connection)
            new = [Metric(edit.dataset, edit.split, name, value, time) for name, value in edit.values.items()]
            metrics = replaced(version.metrics, new)
            if len(metrics) > METRICS_MOST:
                raise _invalid("values", f"make {len(metrics)} metrics of the version; at most {METRICS_MOST} are kept")
            changed = {metric.key for metric in new}
            old = [metric for metric in version.metrics if metric.key in changed]
            change = await changes.append(
                connection, actor, "SetMetrics", version.reference, before=_said(edit, old), after=_said(edit, new)
            )
            stamps = {"etag": change.sequence, "update_time": change.time}
            values = {"metrics": [metric_to_json(metric) for metric in metrics], **stamps}
            await connection.execute(
                update(versions)
                .where(versions.c.model_id == row.id, versions.c.version == version.number)
                .values(values)
            )
            await put_metric_rows(connection, row.id, version.number, metrics)
            return await get_version(connection, row, version.number)


async def _move(connection: AsyncConnection, model: Row[Any], version: Version, edit: VersionEdit, actor: str) -> None:
    state = edit.state or version.state
    reason = version.state_reason if edit.state_reason is None else edit.state_reason
    if (state, reason) == (version.state, version.state_reason):
        return
    for each in (version.state, state):
        if each.value not in USABLE:
            raise FailedPrecondition(
                "VERSION_STATE_INVALID",
                f"{version.reference} is {version.state.value}: an update moves versions between READY and DEPRECATED "
                "alone",
                metadata={"state": version.state.value},
            )
    if state is not version.state:
        await change_state(connection, model, version, state, reason, actor=actor, action="UpdateVersion")
        return
    change = await changes.append(
        connection,
        actor,
        "UpdateVersion",
        version.reference,
        before={"state": state.value, "state_reason": version.state_reason},
        after={"state": state.value, "state_reason": reason},
    )
    await _write(connection, model, version, change, {"state_reason": reason})


async def _label(connection: AsyncConnection, model: Row[Any], version: Version, edit: VersionEdit, actor: str) -> None:
    edited = {**(version.labels if edit.labels is None else edit.labels), **edit.label_edits}
    labels = {name: value for name, value in edited.items() if value is not None}
    if labels == dict(version.labels):
        return
    if len(labels) > LABELS_MOST:
        raise _invalid("version.labels", f"would be {len(labels)}; at most {LABELS_MOST} are kept")
    change = await changes.append(
        connection,
        actor,
        "UpdateVersion",
        version.reference,
        before={"labels": dict(version.labels)},
        after={"labels": labels},
    )
    await _write(connection, model, version, change, {"labels": labels})
    await put_label_rows(connection, model.id, version.number, labels)


async def _write(
    connection: AsyncConnection,
    model: Row[Any],
    version: Version,
    change: changes.Change,
    values: Mapping[str, object],
) -> None:
    stamps = {"etag": change.sequence, "update_time": change.time}
    own = versions.c.model_id == model.id, versions.c.version == version.number
    await connection.execute(update(versions).where(*own).values({**values, **stamps}))


async def _number(connection: AsyncConnection, model: Row[Any], reference: Reference) -> int:
    """The one version that the reference means."""
    match reference.selector:
        case None:
            if not model.latest_version:
                raise version_not_found(model.name, "version that is ready")
            return model.latest_version
        case references.Version(number):
            return number
        case references.Digest(sha256):
            query = select(versions.c.version).where(
                versions.c.model_id == model.id, versions.c.manifest_digest == sha256, versions.c.state.in_(USABLE)
            )
            found = (await connection.execute(query.order_by(versions.c.version.desc()).limit(1))).scalar_one_or_none()
            if found is None:
                raise version_not_found(model.name, f"usable version with the manifest {sha256}")
            return found
        case references.Alias(name):
            query = select(alias_targets.c.version).where(
                alias_targets.c.model_id == model.id, alias_targets.c.alias == name
            )
            targets = (await connection.execute(query)).scalars().all()
            if not targets:
                raise NotFound("ALIAS_NOT_FOUND", f"the model '{model.name}' has no alias '{name}': list its aliases")
            if len(targets) > 1:
                raise InvalidArgument(
                    "REFERENCE_INVALID",
                    f"the alias '{name}' has {len(targets)} targets, and here one version is wanted: give its number",
                    field="reference",
                )
            return targets[0]


def _require_published(version: Version) -> None:
    if version.state is VersionState.DELETED:
        raise FailedPrecondition(
            "VERSION_STATE_INVALID",
            f"{version.reference} is deleted: undelete it first",
            metadata={"state": version.state.value},
        )


def _said(edit: MetricEdit, metrics: list[Metric]) -> changes.State:
    values = {metric.name: metric.value for metric in metrics}
    return {"dataset": edit.dataset, "split": edit.split, "values": values}


def _invalid(name: str, problem: str) -> InvalidArgument:
    return InvalidArgument("FIELD_INVALID", f"{name} {problem}", field=name, metadata={"field": name})
