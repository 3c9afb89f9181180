"""What references mean, with and without the catalog."""

import asyncio

import pytest

from modelzoo.errors import FailedPrecondition, InvalidArgument, NotFound, Unavailable, ZooError
from zoo_inference.catalog import Version
from zoo_inference.freshness import FRESH_S, STALE_AT_MOST_S
from zoo_inference.resolve import REMEMBERED_MOST, Resolver


class CatalogInHand:
    """A Catalog whose answer and availability a test sets."""

    def __init__(self) -> None:
        self.number = 1
        self.error: ZooError | None = None
        self.asked: list[str] = []
        self.answer = asyncio.Event()
        self.answer.set()

    async def version(self, reference: str) -> Version:
        self.asked.append(reference)
        await self.answer.wait()
        if self.error is not None:
            raise self.error
        return Version(f"{reference.partition('@')[0]}@{self.number}", f"{self.number:064x}")

    async def refusal(self, model: str, subject: str) -> str | None:
        raise AssertionError("resolving asks for nobody's access")


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


AWAY = Unavailable("DEPENDENCY_UNAVAILABLE", "away")


@pytest.fixture
def catalog() -> CatalogInHand:
    return CatalogInHand()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def resolver(catalog: CatalogInHand, clock: Clock) -> Resolver:
    return Resolver(catalog, clock)


async def number(resolver: Resolver, reference: str) -> int:
    return int((await resolver.resolve(reference)).reference.partition("@")[2])


async def test_an_alias_that_moved_is_seen_within_a_second(
    resolver: Resolver, catalog: CatalogInHand, clock: Clock
) -> None:
    assert await number(resolver, "a/b@prod") == 1
    catalog.number = 2
    clock.now = FRESH_S / 2
    assert await number(resolver, "a/b@prod") == 1
    clock.now = FRESH_S
    assert await number(resolver, "a/b@prod") == 2


@pytest.mark.parametrize("selector", ["@7", "@sha256:" + "a" * 64])
async def test_a_fixed_reference_holds_however_long_the_catalog_is_away(
    resolver: Resolver, catalog: CatalogInHand, clock: Clock, selector: str
) -> None:
    await resolver.resolve("a/b" + selector)
    clock.now = 1e6
    catalog.error = AWAY
    assert await number(resolver, "a/b" + selector) == 1


async def test_a_fixed_reference_that_must_not_be_run_any_more_is_noticed_within_a_second(
    resolver: Resolver, catalog: CatalogInHand, clock: Clock
) -> None:
    await resolver.resolve("a/b@7")
    await resolver.resolve("a/b@7")
    assert len(catalog.asked) == 1
    catalog.error = FailedPrecondition("VERSION_STATE_INVALID", "quarantined")
    clock.now = FRESH_S
    with pytest.raises(FailedPrecondition):
        await resolver.resolve("a/b@7")
    catalog.error = AWAY
    with pytest.raises(Unavailable):
        await resolver.resolve("a/b@7")


async def test_spellings_of_one_reference_are_asked_once(resolver: Resolver, catalog: CatalogInHand) -> None:
    for reference in ("zoo/b", "b", "b@latest"):
        await resolver.resolve(reference)
    assert catalog.asked == ["zoo/b"]


async def test_the_last_answer_holds_while_the_catalog_is_away(
    resolver: Resolver, catalog: CatalogInHand, clock: Clock
) -> None:
    await resolver.resolve("a/b")
    catalog.error = AWAY
    clock.now = STALE_AT_MOST_S
    assert await number(resolver, "a/b") == 1
    clock.now += 1
    with pytest.raises(Unavailable):
        await resolver.resolve("a/b")
    with pytest.raises(Unavailable):
        await resolver.resolve("a/unheard-of")


async def test_a_model_that_is_gone_is_not_answered_from_memory(
    resolver: Resolver, catalog: CatalogInHand, clock: Clock
) -> None:
    await resolver.resolve("a/b")
    clock.now = 5
    catalog.error = NotFound("MODEL_NOT_FOUND", "gone")
    with pytest.raises(NotFound):
        await resolver.resolve("a/b")


async def test_many_who_ask_at_once_are_one_question(resolver: Resolver, catalog: CatalogInHand) -> None:
    catalog.answer.clear()
    asking = [asyncio.ensure_future(resolver.resolve("a/b")) for _ in range(20)]
    await asyncio.sleep(0)
    asking[0].cancel()
    await asyncio.sleep(0)
    catalog.answer.set()
    assert {version.reference for version in await asyncio.gather(*asking[1:])} == {"a/b@1"}
    assert len(catalog.asked) == 1


async def test_what_is_no_reference_is_not_asked(resolver: Resolver, catalog: CatalogInHand) -> None:
    with pytest.raises(InvalidArgument):
        await resolver.resolve("a/b/c")
    assert catalog.asked == []


async def test_memory_is_bounded(resolver: Resolver, catalog: CatalogInHand) -> None:
    for index in range(REMEMBERED_MOST + 2):
        await resolver.resolve(f"a/b{index}@1")
    catalog.asked.clear()
    await resolver.resolve(f"a/b{REMEMBERED_MOST}@1")
    await resolver.resolve("a/b0@1")
    assert catalog.asked == ["a/b0@1"]
