"""The catalog's pins: set again in a new index, ended where the version was purged meanwhile, then confirmed. And what
namespaces allow: told again, by the last word.
"""

from typing import Any

import pytest
from sqlalchemy import update

from modelzoo.errors import NotFound, Unavailable
from support.catalog_service import CatalogService
from zoo_catalog.namespace_edits import NamespaceEdits
from zoo_catalog.namespaces import NamespaceEdit, Namespaces
from zoo_catalog.pin_keeper import PinKeeper
from zoo_catalog.policy import PolicyEdit
from zoo_catalog.schema import versions


class Pins:
    """The artifact service's side of it, over a set."""

    def __init__(self) -> None:
        self.index = "one"
        self.set: set[tuple[str, str, str]] = set()
        self.confirmed: list[str] = []
        self.lost: set[str] = set()
        self.failing = False
        self.meanwhile: Any = None
        self.opaque: dict[str, bool] = {}
        self.before_told: Any = None

    async def index_id(self) -> str:
        return self.index

    async def pin(self, namespace: str, manifest_digest: str, holder: str) -> None:
        if self.failing:
            raise Unavailable("DEPENDENCY_UNAVAILABLE", "the artifact service does not answer")
        if manifest_digest in self.lost:
            raise NotFound("MANIFEST_NOT_FOUND", "it is lost")
        if self.meanwhile:
            await self.meanwhile()
        self.set.add((namespace, manifest_digest, holder))

    async def allow_opaque(self, namespace: str, allow_opaque: bool) -> None:
        if self.before_told:
            action, self.before_told = self.before_told, None
            await action()
        self.opaque[namespace] = allow_opaque

    async def unpin(self, namespace: str, manifest_digest: str, holder: str) -> None:
        self.set.discard((namespace, manifest_digest, holder))

    async def confirm_pins(self, index_id: str) -> None:
        self.confirmed.append(index_id)


@pytest.fixture
def pins() -> Pins:
    return Pins()


@pytest.fixture
def keeper(zoo: CatalogService, pins: Pins) -> PinKeeper:
    told = NamespaceEdits(Namespaces(zoo.database), pins)  # type: ignore[arg-type]
    return PinKeeper(zoo.database, pins, told, interval_s=3600)  # type: ignore[arg-type]


async def allow(zoo: CatalogService, namespace: str, allow_opaque: bool) -> None:
    edit = NamespaceEdit(policy=PolicyEdit(allow_opaque=allow_opaque))
    await Namespaces(zoo.database).update(namespace, edit, "", "admin")


async def purge(zoo: CatalogService, digest: str) -> None:
    async with zoo.database.write() as connection:
        await connection.execute(update(versions).where(versions.c.manifest_digest == digest).values(purged=True))


async def test_every_version_is_pinned_and_said_so_once_for_each_index(
    zoo: CatalogService, keeper: PinKeeper, pins: Pins
) -> None:
    digests = await zoo.published("Team/m", 3)
    await keeper.look()
    await keeper.look()
    assert pins.set == {("Team", digest, "catalog:Team/m") for digest in digests}
    assert pins.confirmed == ["one"]
    pins.index = "two"
    pins.set.clear()
    await keeper.look()
    assert (len(pins.set), pins.confirmed) == (3, ["one", "two"])


async def test_what_is_purged_is_not_pinned_not_even_if_it_happens_meanwhile(
    zoo: CatalogService, keeper: PinKeeper, pins: Pins
) -> None:
    first, second = await zoo.published("team/m", 2)
    await purge(zoo, first)
    pins.meanwhile = lambda: purge(zoo, second)
    await keeper.look()
    assert pins.set == set()


async def test_a_purge_meanwhile_of_another_version_with_the_same_files_ends_no_pin(
    zoo: CatalogService, keeper: PinKeeper, pins: Pins
) -> None:
    (digest,) = await zoo.published("team/m", 1)
    await zoo.admin.publish("team/m", digest)

    async def purge_the_first() -> None:
        async with zoo.database.write() as connection:
            await connection.execute(update(versions).where(versions.c.version == 1).values(purged=True))

    pins.meanwhile = purge_the_first
    await keeper.look()
    assert pins.set == {("team", digest, "catalog:team/m")}


async def test_nothing_is_confirmed_where_a_pin_could_not_be_set(
    zoo: CatalogService, keeper: PinKeeper, pins: Pins
) -> None:
    await zoo.published("team/m", 1)
    pins.failing = True
    with pytest.raises(Unavailable):
        await keeper.look()
    assert pins.confirmed == []
    pins.failing = False
    await keeper.look()
    assert pins.confirmed == ["one"]


async def test_a_manifest_that_is_lost_keeps_no_other_from_being_pinned(
    zoo: CatalogService, keeper: PinKeeper, pins: Pins
) -> None:
    lost, kept = await zoo.published("team/m", 2)
    pins.lost.add(lost)
    await keeper.look()
    assert {digest for _, digest, _ in pins.set} == {kept}
    assert pins.confirmed == ["one"]


async def test_a_new_index_is_told_what_every_namespace_allows(
    zoo: CatalogService, keeper: PinKeeper, pins: Pins
) -> None:
    for name in ("Open", "shut"):
        await zoo.namespace(name)
    await allow(zoo, "open", True)
    await keeper.look()
    assert pins.opaque.items() >= {("Open", True), ("shut", False)}
    # An older index was restored in its place, which takes what is refused now.
    pins.index, pins.opaque = "older", {"Open": False, "shut": True}
    await keeper.look()
    assert pins.opaque.items() >= {("Open", True), ("shut", False)}


async def test_what_is_changed_while_it_is_told_is_told_again(
    zoo: CatalogService, keeper: PinKeeper, pins: Pins
) -> None:
    await zoo.namespace("team")
    await allow(zoo, "team", True)
    pins.before_told = lambda: allow(zoo, "team", False)
    await keeper.look()
    assert pins.opaque["team"] is False


async def test_a_namespace_that_is_deleted_while_it_is_told_keeps_no_other_from_being_told(
    zoo: CatalogService, keeper: PinKeeper, pins: Pins
) -> None:
    for name in ("gone", "kept"):
        await zoo.namespace(name)
    pins.before_told = lambda: Namespaces(zoo.database).delete("gone", "", "admin")
    await keeper.look()
    assert "kept" in pins.opaque
    assert pins.confirmed == ["one"]
