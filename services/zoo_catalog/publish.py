"""Publishing a manifest as a model's next version.

The manifest is pinned first and for good, then read, then recorded in one transaction. A crash in between leaves a
pin, under a name that every later try uses again; nothing is visible before it is kept.
"""

from collections.abc import Sequence
from dataclasses import asdict, replace

from sqlalchemy import delete, insert, update
from sqlalchemy.ext.asyncio import AsyncConnection

from zoo_catalog import changes
from zoo_catalog.artifacts import Artifacts
from zoo_catalog.card import Card
from zoo_catalog.edges import Parent, record_parents
from zoo_catalog.facts import Facts, read_facts
from zoo_catalog.models import model_row
from zoo_catalog.names import namespace_of, parse_model
from zoo_catalog.requests import Request
from zoo_catalog.schema import model_tags, models, versions
from zoo_catalog.versions import Version, VersionState, version_from_row, version_query, version_row
from zoo_store.sql import Database

__all__ = ["Publisher"]


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

        Raises REFERENCE_INVALID, MODEL_NOT_FOUND, REQUEST_ID_REUSED, VERSION_NOT_FOUND and ALIAS_NOT_FOUND for parents,
        EDGE_EXISTS where they contradict each other, and what `Artifacts` raises.
        """
        name = parse_model(model)
        arguments = {"model": name.casefold(), "manifest_digest": manifest_digest, "source": source}
        if parents:
            arguments["parents"] = repr(parents)
        request = Request(actor, "CreateVersion", request_id, arguments)
        async with self._database.read() as connection:
            written: str = (await model_row(connection, name)).name
            made = await request.made(connection)
            if made is not None:
                return await _get(connection, name, int(made))
            fixed = [await _fixed(connection, parent) for parent in parents]
        namespace = namespace_of(written)
        # One holder for all versions of a model: a retry, and a later version of the same files, find the pin there.
        await self._artifacts.pin(namespace, manifest_digest, holder=f"catalog:{written}")
        facts, card = await read_facts(self._artifacts, namespace, manifest_digest)
        async with self._database.write() as connection:
            made = await request.made(connection)
            if made is None:
                number = await _record(connection, name, manifest_digest, source, actor, facts, card)
                await record_parents(connection, f"{written}@{number}", fixed, actor)
                await request.keep(connection, str(number))
            else:
                number = int(made)
            return await _get(connection, name, number)


async def _record(
    connection: AsyncConnection,
    name: str,
    manifest_digest: str,
    source: str,
    actor: str,
    facts: Facts,
    card: Card,
) -> int:
    """Insert the next version and let the model say what its newest version says; returns the number."""
    model = await model_row(connection, name)
    number: int = model.newest_version + 1
    resource = f"{model.name}@{number}"
    after = {"manifest_digest": manifest_digest, "state": VersionState.READY.value, "source": source}
    change = await changes.append(connection, actor, "CreateVersion", resource, after=after)
    await connection.execute(
        insert(versions).values(
            model_id=model.id,
            version=number,
            manifest_digest=manifest_digest,
            state=VersionState.READY.value,
            facts=asdict(facts),
            source=source,
            creator=actor,
            create_time=change.time,
        )
    )
    await connection.execute(
        update(models)
        .where(models.c.id == model.id)
        .values(
            task=facts.task,
            licence=card.licence,
            tags=list(card.tags),
            card=card.text,
            architecture=facts.architecture,
            parameters=facts.parameters,
            size_bytes=facts.size_bytes,
            latest_version=number,
            newest_version=number,
            etag=change.sequence,
            update_time=change.time,
        )
    )
    await connection.execute(delete(model_tags).where(model_tags.c.model_id == model.id))
    if card.tags:
        rows = [{"model_id": model.id, "tag": tag} for tag in sorted(set(card.tags))]
        await connection.execute(insert(model_tags), rows)
    return number


async def _fixed(connection: AsyncConnection, parent: Parent) -> Parent:
    """By its number: what is recorded is the version that was meant when the call came. Raises as `version_row`."""
    row = await version_row(connection, parent.reference)
    return replace(parent, reference=f"{row.model}@{row.version}")


async def _get(connection: AsyncConnection, name: str, number: int) -> Version:
    query = version_query().where(models.c.key == name.casefold(), versions.c.version == number)
    return version_from_row((await connection.execute(query)).one())
