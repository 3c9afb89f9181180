"""Who may run a gated model, as far as a worker knows."""

from collections.abc import Mapping

import pytest

from modelzoo.errors import PermissionDenied, Unavailable, ZooError
from zoo_inference.catalog import Version
from zoo_inference.freshness import FRESH_S, STALE_AT_MOST_S
from zoo_inference.gate import Gate
from zoo_server.principal import Principal, Role

GATED = Version("acme/secret@1", "0" * 64, gated=True)
ADA = Principal("user:ada", {"acme": Role.INVOKER})


class CatalogInHand:
    """A Catalog whose answer a test sets."""

    def __init__(self) -> None:
        self.granted = False
        self.error: ZooError | None = None
        self.asked: list[tuple[str, str]] = []

    async def version(self, reference: str) -> Version:
        raise AssertionError("nobody asks for versions here")

    async def refusal(self, model: str, subject: str) -> str | None:
        self.asked.append((model, subject))
        if self.error is not None:
            raise self.error
        return None if self.granted else f"the model '{model}' is gated, and your request waits"


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def catalog() -> CatalogInHand:
    return CatalogInHand()


async def test_nobody_is_asked_about_what_is_not_gated(catalog: CatalogInHand) -> None:
    await Gate(catalog).check(Version("acme/free@1", "0" * 64), ADA)
    assert catalog.asked == []


@pytest.mark.parametrize("roles", [{"acme": Role.PUBLISHER}, {"*": Role.ADMIN}, {"ACME": Role.TRAINER}])
async def test_publishers_need_no_request(catalog: CatalogInHand, roles: Mapping[str, Role]) -> None:
    await Gate(catalog).check(GATED, Principal("user:pia", roles))
    assert catalog.asked == []


async def test_a_role_elsewhere_opens_nothing(catalog: CatalogInHand) -> None:
    with pytest.raises(PermissionDenied, match="'acme/secret' is gated, and your request waits"):
        await Gate(catalog).check(GATED, Principal("user:pia", {"other": Role.ADMIN, "acme": Role.INVOKER}))


async def test_a_decision_is_known_within_a_second(catalog: CatalogInHand) -> None:
    clock = Clock()
    gate = Gate(catalog, clock)
    with pytest.raises(PermissionDenied):
        await gate.check(GATED, ADA)
    catalog.granted, clock.now = True, FRESH_S
    await gate.check(GATED, ADA)
    catalog.granted, clock.now = False, FRESH_S * 1.5
    await gate.check(GATED, ADA)
    clock.now = FRESH_S * 2
    with pytest.raises(PermissionDenied):
        await gate.check(GATED, ADA)


async def test_the_answer_about_one_subject_says_nothing_about_another(catalog: CatalogInHand) -> None:
    gate = Gate(catalog)
    catalog.granted = True
    await gate.check(GATED, ADA)
    catalog.granted = False
    with pytest.raises(PermissionDenied):
        await gate.check(GATED, Principal("user:eve", ADA.roles))


async def test_without_the_catalog_the_last_answer_holds_for_a_while_and_nothing_opens(catalog: CatalogInHand) -> None:
    clock = Clock()
    gate = Gate(catalog, clock)
    catalog.granted = True
    await gate.check(GATED, ADA)
    catalog.error, clock.now = Unavailable("DEPENDENCY_UNAVAILABLE", "away"), STALE_AT_MOST_S
    await gate.check(GATED, ADA)
    clock.now = STALE_AT_MOST_S + 1
    for subject in ("user:ada", "user:eve"):
        with pytest.raises(Unavailable):
            await gate.check(GATED, Principal(subject, ADA.roles))
