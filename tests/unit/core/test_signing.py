"""The format of signatures: what is signed, and what is refused."""

import base64
import json
import stat
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, Encoding, NoEncryption, PrivateFormat

from modelzoo.errors import FailedPrecondition, InvalidArgument
from modelzoo.signing.bundle import BUNDLE_BYTES_MAX, Bundle, sign
from modelzoo.signing.directory import sha256_of_directory
from modelzoo.signing.keys import PublicKey, SigningKey, new_key
from modelzoo.signing.statement import signed_files, statement_of
from support.signing_keys import ed25519_key, rsa_public_pem

FILES = {"b.txt": "1" * 64, "a/z.txt": "2" * 64, "a.txt": "3" * 64}
KEYS = {
    "P-256": new_key(),
    "P-384": SigningKey(ec.generate_private_key(ec.SECP384R1())),
    "P-521": SigningKey(ec.generate_private_key(ec.SECP521R1())),
    "Ed25519": ed25519_key(),
}


def changed(bundle: bytes, change: Any) -> bytes:
    """The bundle with its payload changed, still as JSON."""
    document = json.loads(bundle)
    statement = json.loads(base64.b64decode(document["dsseEnvelope"]["payload"]))
    change(statement)
    document["dsseEnvelope"]["payload"] = base64.b64encode(json.dumps(statement).encode()).decode()
    return json.dumps(document).encode()


@pytest.mark.parametrize("key", KEYS.values(), ids=KEYS.keys())
def test_what_a_key_signed_its_public_key_verifies(key: SigningKey):
    Bundle.from_bytes(sign("m", FILES, key)).check(FILES, PublicKey.from_pem(key.public_key.pem))


@pytest.mark.parametrize("key", KEYS.values(), ids=KEYS.keys())
def test_no_bit_of_the_signature_can_be_turned(key: SigningKey):
    bundle = Bundle.from_bytes(sign("m", FILES, key))
    for at in range(0, len(bundle.payload), 97):
        payload = bytearray(bundle.payload)
        payload[at] ^= 1
        with pytest.raises(FailedPrecondition):
            Bundle(bytes(payload), bundle.signature, bundle.hint).check(FILES, key.public_key)


@pytest.mark.parametrize(
    "files",
    [{}, {**FILES, "c": "4" * 64}, {**FILES, "b.txt": "5" * 64}, {"b.txt": "1" * 64}],
    ids=["none", "one more", "another digest", "fewer"],
)
def test_other_files_than_were_signed_are_refused_and_named(files: dict[str, str]):
    with pytest.raises(FailedPrecondition, match=r"other files: '") as caught:
        Bundle.from_bytes(sign("m", FILES, KEYS["P-256"])).check(files, KEYS["P-256"].public_key)
    assert caught.value.reason == "SIGNATURE_INVALID"


def test_the_digest_of_the_whole_is_over_the_parts_in_the_order_of_path_parts():
    statement = json.loads(statement_of("m", FILES))
    names = [resource["name"] for resource in statement["predicate"]["resources"]]
    assert names == ["a/z.txt", "a.txt", "b.txt"]
    assert signed_files(json.dumps(statement).encode()) == FILES


def test_a_name_is_no_part_of_what_is_verified():
    key = KEYS["P-256"]
    for name in ("a", "b" * 1000, "ünïcode"):
        Bundle.from_bytes(sign(name, FILES, key)).check(FILES, key.public_key)


def break_root(statement: Any) -> None:
    statement["subject"][0]["digest"]["sha256"] = "0" * 64


def list_twice(statement: Any) -> None:
    statement["predicate"]["resources"].append(statement["predicate"]["resources"][0])


def use_shards(statement: Any) -> None:
    statement["predicate"]["serialization"]["method"] = "shards"


def use_blake(statement: Any) -> None:
    statement["predicate"]["resources"][0]["algorithm"] = "blake2b"


def other_predicate(statement: Any) -> None:
    statement["predicateType"] = "https://slsa.dev/provenance/v1"


@pytest.mark.parametrize("change", [break_root, list_twice, use_shards, use_blake, other_predicate])
def test_a_statement_that_contradicts_itself_or_says_something_else_is_refused(change: Any):
    payload = Bundle.from_bytes(changed(sign("m", FILES, KEYS["P-256"]), change)).payload
    with pytest.raises(FailedPrecondition) as caught:
        signed_files(payload)
    assert caught.value.reason == "SIGNATURE_INVALID"


@pytest.mark.parametrize(
    "data",
    [b"", b"{}", b"[]", b"null", b"[" * 200_000, b"\xff", b'{"mediaType": 1}', b"x" * (BUNDLE_BYTES_MAX + 1)],
    ids=["empty", "an object", "a list", "null", "deep", "no text", "a number", "large"],
)
def test_what_is_no_bundle_is_refused(data: bytes):
    with pytest.raises(FailedPrecondition) as caught:
        Bundle.from_bytes(data)
    assert caught.value.reason == "SIGNATURE_INVALID"


def test_a_new_key_is_for_its_owners_eyes_and_written_over_nothing(tmp_path: Path):
    path = tmp_path / "key.pem"
    key = new_key()
    key.save(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert SigningKey.load(path).public_key.key_id == PublicKey.load(path).key_id == key.public_key.key_id
    with pytest.raises(InvalidArgument) as caught:
        new_key().save(path)
    assert caught.value.reason == "LOCAL_PATH_INVALID"


def test_an_encrypted_key_needs_its_password():
    raw = ec.generate_private_key(ec.SECP256R1())
    pem = raw.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"secret"))
    assert SigningKey.from_pem(pem, "secret")
    for password in (None, "wrong"):
        with pytest.raises(InvalidArgument) as caught:
            SigningKey.from_pem(pem, password)
        assert caught.value.reason == "SIGNING_KEY_INVALID"


def test_keys_of_other_kinds_are_refused():
    curve = ec.generate_private_key(ec.SECP256K1())
    pem = curve.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    with pytest.raises(InvalidArgument):
        SigningKey.from_pem(pem)
    with pytest.raises(InvalidArgument):
        PublicKey.from_pem(rsa_public_pem())


def test_a_directorys_digests_are_those_of_its_manifest(tmp_path: Path):
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "b.txt").write_bytes(b"hello")
    (tmp_path / "model.sig").write_bytes(b"{}")
    digest = "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824"
    assert sha256_of_directory(tmp_path, {"model.sig"}) == {"a/b.txt": digest}
