"""Publishing a manifest as a model's next version.

The manifest is pinned first and for good, then read, then recorded in one transaction. A crash in between leaves a
pin, under a name that every later try uses again; nothing is visible before it is kept.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from sqlalchemy import Row, insert, update
from sqlalchemy.ext.asyncio import AsyncConnection

from modelzoo.errors import FailedPrecondition
from modelzoo.manifest import Manifest
from zoo_catalog import changes
from zoo_catalog.artifacts import Artifacts
from zoo_catalog.card import Card
from zoo_catalog.edges import Parent, record_parents
from zoo_catalog.facts import Facts, read_facts
from zoo_catalog.holders import holder_of, purges
from zoo_catalog.metrics import Metric, metric_to_json
from zoo_catalog.models import ModelKind, model_row
from zoo_catalog.names import namespace_of, parse_model
from zoo_catalog.quarantine import check_not_quarantined
from zoo_catalog.quota import check_room
from zoo_catalog.requests import Request
from zoo_catalog.retention import retain
from zoo_catalog.schema import cards, models, versions
from zoo_catalog.states import refresh_model
from zoo_catalog.version_rows import put_metric_rows
from zoo_catalog.versions import Version, VersionState, get_version, version_row
from zoo_server.call import current_principal
from zoo_store.sql import Database

__all__ = ["Publisher"]

DATASET_FORMAT = "dataset"


@dataclass(frozen=True, slots=True)
class _Publication:
    """What is recorded of a version."""

    manifest_digest: str
    source: str
    facts: Facts
    card: Card


class Publisher:
    def __init__(self, database: Database, artifacts: Artifacts) -> None:
        self._database = database
        self._artifacts = artifacts

    async def publish(
        self,
        model: str,
        manifest_digest: str,
        source: str,
        actor: str,
        request_id: str = "",
        parents: Sequence[Parent] = (),
    ) -> Version:
        """Make the next version, and its edges to what it was made from, which the caller may see; with a request_id
        that made one before, return that.

        Raises REFERENCE_INVALID, MODEL_NOT_FOUND, KIND_MISMATCH, REQUEST_ID_REUSED, MANIFEST_QUARANTINED,
        QUOTA_EXCEEDED, VERSION_NOT_FOUND and ALIAS_NOT_FOUND for parents, EDGE_EXISTS where they contradict each other,
        and what `Artifacts` raises.
        """
        name = parse_model(model)
        arguments = {"model": name.casefold(), "manifest_digest": manifest_digest, "source": source}
        if parents:
            arguments["parents"] = repr(parents)
        request = Request(actor, "CreateVersion", request_id, arguments)
        async with self._database.read() as connection:
            row = await model_row(connection, name)
            made = await request.made(connection)
            if made is not None:
                return await get_version(connection, row, int(made))
            fixed = [await _fixed(connection, parent) for parent in parents]
            await check_not_quarantined(connection, row.namespace_key, manifest_digest)
        namespace = namespace_of(row.name)
        manifest = await self._artifacts.manifest(namespace, manifest_digest)
        _check_kind(row, manifest)
        async with self._database.read() as connection:
            # Before anything is pinned: what is refused must not be kept.
            await check_room(connection, row.namespace_key, manifest_digest, manifest.size_bytes)
        generation = await self._pin(row, manifest_digest)
        facts, card = await read_facts(self._artifacts, namespace, manifest_digest, manifest)
        publication = _Publication(manifest_digest, source, facts, card)
        while True:
            async with self._database.write() as connection:
                made = await request.made(connection)
                if made is not None:
                    return await get_version(connection, row, int(made))
                await check_not_quarantined(connection, row.namespace_key, manifest_digest)
                if await purges(connection, row.id, manifest_digest) == generation:
                    version = await _record(connection, name, publication, actor)
                    await record_parents(connection, f"{row.name}@{version.number}", fixed, actor)
                    await request.keep(connection, str(version.number))
                    return version
            # A version of the same files was purged meanwhile, and the pin may have gone with it.
            generation = await self._pin(row, manifest_digest)

    async def _pin(self, model: Row[Any], manifest_digest: str) -> int:
        """Pin the manifest; the generation of the pin."""
        async with self._database.read() as connection:
            generation = await purges(connection, model.id, manifest_digest)
        await self._artifacts.pin(namespace_of(model.name), manifest_digest, holder_of(model.name, generation))
        return generation


def _check_kind(model: Row[Any], manifest: Manifest) -> None:
    is_dataset = manifest.format == DATASET_FORMAT
    if is_dataset != (model.kind == ModelKind.DATASET.value):
        advice = "publish them under the name of a dataset" if is_dataset else "publish with the format `dataset`"
        raise FailedPrecondition(
            "KIND_MISMATCH",
            f"'{model.name}' is a {model.kind.lower()}, and these files have the format {manifest.format}: {advice}",
            metadata={"kind": model.kind.lower()},
        )


async def _record(connection: AsyncConnection, name: str, publication: _Publication, actor: str) -> Version:
    """Insert the next version, let the model say what it says, and delete what the namespace does not keep."""
    model = await model_row(connection, name)
    facts, card = publication.facts, publication.card
    await check_room(connection, model.namespace_key, publication.manifest_digest, facts.size_bytes)
    number: int = model.newest_version + 1
    resource = f"{model.name}@{number}"
    after = {
        "manifest_digest": publication.manifest_digest,
        "state": VersionState.READY.value,
        "source": publication.source,
    }
    change = await changes.append(connection, actor, "CreateVersion", resource, after=after)
    metrics = [Metric(each.dataset, each.split, each.name, each.value, change.time) for each in card.metrics]
    await connection.execute(
        insert(versions).values(
            model_id=model.id,
            version=number,
            manifest_digest=publication.manifest_digest,
            state=VersionState.READY.value,
            facts=asdict(facts),
            size_bytes=facts.size_bytes,
            metrics=[metric_to_json(metric) for metric in metrics],
            source=publication.source,
            creator=actor,
            on_behalf_of=behalf.subject if (behalf := current_principal().behalf) else "",
            create_time=change.time,
            update_time=change.time,
            etag=change.sequence,
        )
    )
    await put_metric_rows(connection, model.id, number, metrics)
    if card.text:
        await connection.execute(insert(cards).values(model_id=model.id, version=number, text=card.text))
    await connection.execute(update(models).where(models.c.id == model.id).values(newest_version=number))
    await refresh_model(connection, model.id, change)
    await retain(connection, model, actor)
    return await get_version(connection, model, number)


async def _fixed(connection: AsyncConnection, parent: Parent) -> Parent:
    """By its number: what is recorded is the version that was meant when the call came. Raises as `version_row`."""
    row = await version_row(connection, parent.reference)
    return replace(parent, reference=f"{row.model}@{row.version}")
