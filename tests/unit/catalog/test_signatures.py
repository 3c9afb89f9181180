"""Signatures beside versions, and whom a namespace trusts."""

import pytest

from modelzoo.errors import Aborted, FailedPrecondition, InvalidArgument
from modelzoo.signing.bundle import sign
from modelzoo.signing.keys import SigningKey, new_key
from support.artifact_fake import file_of
from support.catalog_service import CatalogService, refused
from support.signing_keys import ed25519_key, rsa_public_pem
from zoo.catalog.v1 import signature_pb2
from zoo.catalog.v1 import signature_service_pb2 as pb

FILES = {"weights.bin": file_of("weights.bin", b"team/bert 0").sha256}


async def add(zoo: CatalogService, bundle: bytes, key: SigningKey, reference: str = "team/bert@1"):
    request = pb.AddSignatureRequest(reference=reference, bundle=bundle, public_key=key.public_key.pem)
    return (await zoo.admin.signatures.AddSignature(request)).signature


async def listed(zoo: CatalogService, reference: str = "team/bert@1"):
    answer = await zoo.admin.signatures.ListSignatures(pb.ListSignaturesRequest(reference=reference))
    return list(answer.signatures)


async def trust(zoo: CatalogService, *keys: SigningKey, required: bool = False, etag: str = ""):
    signers = [
        signature_pb2.TrustedSigner(name=f"signer-{number}", public_key=key.public_key.pem)
        for number, key in enumerate(keys)
    ]
    request = pb.SetTrustedSignersRequest(namespace="TEAM", signers=signers, require_signatures=required, etag=etag)
    return await zoo.admin.signatures.SetTrustedSigners(request)


@pytest.mark.parametrize("key", [new_key(), ed25519_key()], ids=["P-256", "Ed25519"])
async def test_a_signature_that_holds_is_kept_beside_the_version(zoo: CatalogService, key: SigningKey) -> None:
    await zoo.published("team/bert")
    bundle = sign("team/bert@1", FILES, key)
    added = await add(zoo, bundle, key)
    assert (added.key_id, added.bundle, added.creator) == (key.public_key.key_id, bundle, "admin")
    assert await listed(zoo) == [added]


async def test_a_signers_next_signature_replaces_the_last(zoo: CatalogService) -> None:
    await zoo.published("team/bert")
    key, other = new_key(), new_key()
    await add(zoo, sign("a", FILES, key), key)
    await add(zoo, sign("a", FILES, other), other)
    second = sign("b", FILES, key)
    await add(zoo, second, key)
    assert {each.key_id: each.bundle for each in await listed(zoo)}[key.public_key.key_id] == second
    assert len(await listed(zoo)) == 2


@pytest.mark.parametrize(
    "files", [{}, {"weights.bin": "0" * 64}, {**FILES, "more": "0" * 64}, {"other.bin": FILES["weights.bin"]}]
)
async def test_a_signature_of_other_files_is_refused(zoo: CatalogService, files: dict[str, str]) -> None:
    await zoo.published("team/bert")
    key = new_key()
    with refused(FailedPrecondition, "SIGNATURE_INVALID"):
        await add(zoo, sign("team/bert@1", files, key), key)
    assert await listed(zoo) == []


async def test_a_signature_by_another_key_is_refused(zoo: CatalogService) -> None:
    await zoo.published("team/bert")
    with refused(FailedPrecondition, "SIGNATURE_INVALID"):
        await add(zoo, sign("team/bert@1", FILES, new_key()), new_key())


async def test_a_key_that_signs_no_models_is_refused(zoo: CatalogService) -> None:
    await zoo.published("team/bert")
    for pem in ("nonsense", rsa_public_pem()):
        request = pb.AddSignatureRequest(reference="team/bert@1", bundle=b"{}", public_key=pem)
        with refused(InvalidArgument, "SIGNING_KEY_INVALID"):
            await zoo.admin.signatures.AddSignature(request)


async def test_whom_a_namespace_trusts_is_told_with_the_signature(zoo: CatalogService) -> None:
    await zoo.published("team/bert")
    key = new_key()
    await add(zoo, sign("team/bert@1", FILES, key), key)
    assert (await listed(zoo))[0].trusted_as == ""
    await trust(zoo, new_key(), key)
    assert (await listed(zoo))[0].trusted_as == "signer-1"


async def test_where_signatures_are_required_aliases_move_to_signed_versions_alone(zoo: CatalogService) -> None:
    await zoo.published("team/bert", 2)
    key, stranger = new_key(), new_key()
    await trust(zoo, key, required=True)
    await add(zoo, sign("team/bert@1", FILES, stranger), stranger)
    with refused(FailedPrecondition, "SIGNATURE_REQUIRED"):
        await zoo.admin.set_alias("team/bert", "prod", {1: 1})
    await add(zoo, sign("team/bert@1", FILES, key), key)
    await zoo.admin.set_alias("team/bert", "prod", {1: 1})
    with refused(FailedPrecondition, "SIGNATURE_REQUIRED") as refusal:
        await zoo.admin.set_alias("team/bert", "prod", {1: 1, 2: 1})
    assert refusal.metadata == {"version": "2"}


async def test_two_who_change_the_signers_at_once_meet_at_the_etag(zoo: CatalogService) -> None:
    await zoo.namespace("team")
    first = await trust(zoo, new_key(), etag="0")
    with refused(Aborted, "ETAG_MISMATCH") as refusal:
        await trust(zoo, new_key(), etag="0")
    assert refusal.metadata == {"etag": first.etag}
    assert len((await trust(zoo, etag=first.etag)).signers) == 0


async def test_signers_that_make_no_sense_are_refused(zoo: CatalogService) -> None:
    await zoo.namespace("team")
    key = new_key()
    for attempt in (trust(zoo, key, key), trust(zoo, required=True)):
        with refused(InvalidArgument, "FIELD_INVALID"):
            await attempt
