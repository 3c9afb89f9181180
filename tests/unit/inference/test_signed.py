"""What a worker runs where signatures are required, and what it lets go of."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

import pytest

from modelzoo.errors import FailedPrecondition, NotFound, Unavailable, ZooError
from modelzoo.manifest import Manifest
from modelzoo.signing.bundle import sha256_of, sign
from modelzoo.signing.keys import SigningKey, new_key
from support.artifact_fake import file_of
from zoo_inference.catalog import Version
from zoo_inference.freshness import FRESH_S
from zoo_inference.patrol import Patrol
from zoo_inference.placement import Placement
from zoo_inference.residency import Residency
from zoo_inference.resolve import Resolver
from zoo_inference.signed import Signature, SignedCatalog, SigningPolicy

MANIFEST = Manifest.of("transformers", [file_of("model.safetensors", b"weights"), file_of("config.json", b"{}")])
OTHER = Manifest.of("transformers", [file_of("model.safetensors", b"others")])
KEY, STRANGER = new_key(), new_key()
REFERENCE = "acme/chat@1"


def signed(key: SigningKey, manifest: Manifest = MANIFEST, claimed: SigningKey | None = None) -> Signature:
    """By `key`, said to be by `claimed`."""
    return Signature((claimed or key).public_key.key_id, sign(REFERENCE, sha256_of(manifest), key))


@dataclass
class Zoo:
    """Catalog and signatures in hand."""

    signatures: list[Signature] = field(default_factory=list)
    keys: list[SigningKey] = field(default_factory=lambda: [KEY])
    is_required: bool = True
    error: ZooError | None = None
    manifests: int = 0

    async def version(self, reference: str) -> Version:
        if self.error is not None:
            raise self.error
        return Version(REFERENCE, MANIFEST.digest())

    async def policy(self, namespace: str) -> SigningPolicy:
        pems = tuple(key.public_key.pem for key in self.keys)
        return SigningPolicy(pems, self.is_required, f"{self.is_required} {pems}")

    async def of(self, version: Version) -> list[Signature]:
        return self.signatures

    async def manifest(self, version: Version) -> Manifest:
        self.manifests += 1
        return MANIFEST


@dataclass
class Clock:
    now: float = 0.0

    def __call__(self) -> float:
        self.now += 10
        return self.now


def catalog(zoo: Zoo) -> SignedCatalog:
    return SignedCatalog(zoo, zoo, Clock())


async def test_a_version_signed_by_a_trusted_signer_runs_and_is_verified_once() -> None:
    zoo = Zoo([signed(STRANGER), signed(KEY)])
    worker = catalog(zoo)
    for _ in range(3):
        assert (await worker.version("acme/chat")).reference == REFERENCE
    assert zoo.manifests == 1


async def test_where_nothing_is_required_nothing_is_verified() -> None:
    zoo = Zoo(is_required=False)
    assert await catalog(zoo).version("acme/chat")
    assert zoo.manifests == 0


@pytest.mark.parametrize(
    ("signatures", "reason"),
    [
        ([], "SIGNATURE_REQUIRED"),
        ([signed(STRANGER)], "SIGNATURE_REQUIRED"),
        ([signed(KEY, OTHER)], "SIGNATURE_INVALID"),
        ([signed(STRANGER, claimed=KEY)], "SIGNATURE_INVALID"),
        ([Signature(KEY.public_key.key_id, b"{}")], "SIGNATURE_INVALID"),
        ([Signature(KEY.public_key.key_id, b"[" * 100_000)], "SIGNATURE_INVALID"),
    ],
    ids=["none", "a stranger's", "of other files", "a stranger's in another's name", "empty", "deep"],
)
async def test_a_version_without_a_signature_that_holds_is_refused(signatures: list[Signature], reason: str) -> None:
    with pytest.raises(FailedPrecondition) as caught:
        await catalog(Zoo(signatures)).version("acme/chat")
    assert caught.value.reason == reason


async def test_a_signer_who_is_trusted_no_longer_vouches_for_nothing() -> None:
    zoo = Zoo([signed(KEY)])
    worker = catalog(zoo)
    await worker.version("acme/chat")
    zoo.keys = [STRANGER]
    with pytest.raises(FailedPrecondition):
        await worker.version("acme/chat")


async def test_a_signer_vouches_for_nothing_twice_the_freshness_after_the_namespace_distrusts_it() -> None:
    zoo, now = Zoo([signed(KEY)]), 0.0
    worker = Resolver(SignedCatalog(zoo, zoo, lambda: now), lambda: now)
    await worker.resolve("acme/other")  # the policy is known from now on
    zoo.keys = [STRANGER]
    now = FRESH_S * 0.9
    await worker.resolve("acme/chat")
    now = FRESH_S * 1.8
    await worker.resolve("acme/chat")
    now = FRESH_S * 2
    with pytest.raises(FailedPrecondition):
        await worker.resolve("acme/chat")


class Model:
    size_bytes = 10

    def __init__(self) -> None:
        self.closed = False

    async def close(self) -> None:
        self.closed = True


@pytest.fixture
async def residency() -> AsyncIterator[Residency[Model]]:
    async def load(version: Version, placement: Placement) -> Model:
        return Model()

    residency = Residency(100, lambda version: Placement(widened=False, size_bytes=10), load, lambda: None)
    yield residency
    await residency.close()


@pytest.mark.parametrize(
    "error",
    [FailedPrecondition("VERSION_STATE_INVALID", "quarantined"), NotFound("VERSION_NOT_FOUND", "deleted")],
    ids=["quarantined", "deleted"],
)
async def test_what_may_not_be_run_any_more_is_unloaded(residency: Residency[Model], error: ZooError) -> None:
    zoo = Zoo(is_required=False)
    async with residency.use(await zoo.version("")) as model:
        pass
    patrol = Patrol(catalog(zoo), residency)
    await patrol.look()
    assert not model.closed
    zoo.error = error
    await patrol.look()
    assert (model.closed, residency.residents, residency.used_bytes) == (True, [], 0)


async def test_who_uses_it_then_is_served_to_the_end_and_nobody_after(residency: Residency[Model]) -> None:
    zoo = Zoo(is_required=False)
    version = await zoo.version("")
    async with residency.use(version) as model:
        await residency.drop(version.manifest_digest)
        assert (model.closed, residency.residents, residency.used_bytes) == (False, [], 10)
        async with residency.use(version) as anew:
            assert anew is not model
    assert (model.closed, residency.used_bytes) == (True, 10)


async def test_while_the_catalog_is_away_everything_stays(residency: Residency[Model]) -> None:
    zoo = Zoo(is_required=False)
    async with residency.use(await zoo.version("")) as model:
        pass
    zoo.error = Unavailable("DEPENDENCY_UNAVAILABLE", "away")
    await Patrol(catalog(zoo), residency).look()
    assert not model.closed


async def test_what_is_loading_is_left_to_the_next_look() -> None:
    begun = asyncio.Event()

    async def load(version: Version, placement: Placement) -> Model:
        await begun.wait()
        return Model()

    residency = Residency(100, lambda version: Placement(widened=False, size_bytes=10), load, lambda: None)
    version = Version(REFERENCE, MANIFEST.digest())
    using = asyncio.ensure_future(residency.use(version).__aenter__())
    await asyncio.sleep(0)
    await residency.drop(version.manifest_digest)
    begun.set()
    assert isinstance(await using, Model)
    await residency.close()
