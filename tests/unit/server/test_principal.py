"""Principals: what is signed comes back, and nothing else is believed."""

import base64
import json
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from modelzoo.errors import Unauthenticated
from zoo_server.behalf import Acting, acting_for
from zoo_server.principal import (
    LEEWAY_S,
    LIFETIME_S,
    Behalf,
    Delegation,
    Principal,
    Role,
    Signer,
    TrustedKey,
    Verifier,
    create_signer,
    save_trust,
)

APP = Principal("team:app", {"team": Role.PUBLISHER, "*": Role.VIEWER})
SERVICE = Principal("service:worker", {"*": Role.VIEWER})
TRAINING = Principal("service:training", {"*": Role.TRAINER})
JOB = Principal("job:job_1", {"team": Role.PUBLISHER, "zoo": Role.VIEWER})
SECRET = Ed25519PrivateKey.generate()


@pytest.fixture
def gateway() -> Signer:
    return Signer("gateway", SECRET.private_bytes_raw())


@pytest.fixture
def worker() -> Signer:
    return create_signer("worker")


@pytest.fixture
def training() -> Signer:
    return create_signer("training")


@pytest.fixture
def delegating(training: Signer) -> Verifier:
    delegation = Delegation("job:", Role.PUBLISHER)
    return Verifier([TrustedKey("training", training.public_key(), TRAINING, delegation)])


@pytest.fixture
def verifier(gateway: Signer, worker: Signer) -> Verifier:
    return Verifier(
        [TrustedKey("gateway", gateway.public_key(), None), TrustedKey("worker", worker.public_key(), SERVICE)]
    )


def token(kid: Any = "gateway", key: Any = SECRET, algorithm: str = "EdDSA", **claims: Any) -> str:
    now = int(time.time())
    content = {"iat": now, "exp": now + LIFETIME_S, "sub": "team:app", "roles": {}} | claims
    content = {name: value for name, value in content.items() if value is not None}
    return jwt.encode(content, key, algorithm=algorithm, headers={"kid": kid} if kid else {})


def refused(verifier: Verifier, text: str) -> str:
    with pytest.raises(Unauthenticated) as caught:
        verifier.verify(text)
    return caught.value.reason


def test_the_gateway_asserts_anybody(verifier: Verifier, gateway: Signer) -> None:
    for _ in range(2):  # the second from memory
        assert verifier.verify(gateway.sign(APP)) == APP


def test_a_service_asserts_itself_alone_with_the_roles_of_the_trust_file(verifier: Verifier, worker: Signer) -> None:
    assert verifier.verify(worker.own_token()) == SERVICE
    assert verifier.verify(worker.sign(Principal("admin", {"*": Role.ADMIN}))) == SERVICE


def test_a_key_with_a_delegation_asserts_itself_and_subjects_of_its_prefix(
    delegating: Verifier, training: Signer
) -> None:
    assert delegating.verify(training.own_token()) == TRAINING
    assert delegating.verify(training.sign(JOB)) == JOB


@pytest.mark.parametrize(
    "asserted",
    [
        Principal("job:job_1", {"team": Role.TRAINER}),
        Principal("job:job_1", {"team": Role.ADMIN, "zoo": Role.VIEWER}),
        Principal("job:job_1", {"*": Role.VIEWER}),
        Principal("job:", {"team": Role.VIEWER}),
        Principal("Job:job_1", {}),
        Principal(" job:job_1", {}),
        Principal("", {}),
        Principal("admin", {"*": Role.ADMIN}),
        Principal("service:catalog", {}),
        Principal("service:trainer", {}),
        # Not even itself by name: it would have the roles that it says.
        Principal("service:training", {"team": Role.VIEWER}),
    ],
)
def test_a_key_with_a_delegation_asserts_nothing_beyond_it(
    delegating: Verifier, training: Signer, asserted: Principal
) -> None:
    assert refused(delegating, training.sign(asserted)) == "CREDENTIAL_INVALID"


def test_on_whose_behalf_is_said_by_services_with_a_delegation_alone_and_gives_no_role(
    delegating: Verifier, verifier: Verifier, training: Signer, worker: Signer, gateway: Signer
) -> None:
    behalf = Behalf("admin", "job_1")
    said = delegating.verify(training.sign(behalf=behalf))
    assert (said.behalf, replace(said, behalf=None)) == (behalf, delegating.verify(training.sign()))
    anybody = Principal("user:ann", {"team": Role.VIEWER})
    for trusting, signed in (
        (verifier, worker.sign(behalf=behalf)),
        (verifier, gateway.sign(anybody, behalf)),
        (delegating, training.sign(Principal("job:1"), behalf)),
    ):
        assert refused(trusting, signed) == "CREDENTIAL_INVALID"
    with acting_for(behalf):
        assert delegating.verify(Acting(training).own_token()).behalf == behalf
    assert delegating.verify(Acting(training).own_token()).behalf is None


def test_a_delegation_comes_back_from_its_file(tmp_path: Path, training: Signer) -> None:
    trusted = TrustedKey("training", training.public_key(), TRAINING, Delegation("job:", Role.PUBLISHER))
    save_trust(tmp_path / "trust", [trusted])
    verifier = Verifier.load(tmp_path / "trust")
    assert verifier.verify(training.sign(JOB)) == JOB
    assert refused(verifier, training.sign(Principal("user:ann", {}))) == "CREDENTIAL_INVALID"


def test_an_own_token_is_signed_anew_before_it_lapses() -> None:
    now = [time.time()]
    signer = Signer("worker", SECRET.private_bytes_raw(), clock=lambda: now[0])
    first = signer.own_token()
    now[0] += LIFETIME_S / 2
    assert signer.own_token() == first
    now[0] += LIFETIME_S / 4
    assert signer.own_token() != first


def test_no_token_is_a_missing_credential(verifier: Verifier) -> None:
    assert refused(verifier, "") == "CREDENTIAL_MISSING"


def test_a_token_by_another_key_is_not_believed(verifier: Verifier, worker: Signer) -> None:
    assert refused(verifier, create_signer("gateway").sign(APP)) == "CREDENTIAL_INVALID"


@pytest.mark.parametrize("kid", [None, "", "other", "None", "../gateway", "GATEWAY", "worker"])
def test_a_forged_key_id_is_not_believed(verifier: Verifier, kid: str | None) -> None:
    assert refused(verifier, token(kid)) == "CREDENTIAL_INVALID"


def test_a_token_without_a_signature_is_not_believed(verifier: Verifier) -> None:
    assert refused(verifier, token(key=None, algorithm="none")) == "CREDENTIAL_INVALID"
    head, body, _ = token().split(".")
    assert refused(verifier, f"{head}.{body}.") == "CREDENTIAL_INVALID"


def test_the_public_key_is_no_shared_secret(verifier: Verifier, gateway: Signer) -> None:
    assert refused(verifier, token(key=gateway.public_key(), algorithm="HS256")) == "CREDENTIAL_INVALID"


def test_a_changed_body_is_not_believed(verifier: Verifier) -> None:
    head, body, signature = token().split(".")
    claims = json.loads(base64.urlsafe_b64decode(body + "==")) | {"roles": {"*": 5}}
    forged = base64.urlsafe_b64encode(json.dumps(claims).encode()).decode().rstrip("=")
    assert refused(verifier, f"{head}.{forged}.{signature}") == "CREDENTIAL_INVALID"


def test_a_token_lives_as_long_as_it_says(verifier: Verifier) -> None:
    now = int(time.time())
    assert verifier.verify(token(exp=now - LEEWAY_S + 2)).subject == "team:app"
    assert refused(verifier, token(exp=now - LEEWAY_S - 1)) == "CREDENTIAL_EXPIRED"


@pytest.mark.parametrize(
    "claims",
    [
        {"exp": None},
        {"iat": None},
        {"sub": None},
        {"sub": 7},
        {"exp": "soon"},
        {"exp": []},
        {"iat": int(time.time()) + 3600},
        {"roles": {"team": 9}},
        {"roles": {"team": "admin"}},
        {"roles": ["admin"]},
        {"roles": 5},
    ],
)
def test_claims_that_make_no_principal_are_refused(verifier: Verifier, claims: dict[str, Any]) -> None:
    assert refused(verifier, token(**claims)) == "CREDENTIAL_INVALID"


@given(st.text(min_size=1) | st.binary(min_size=1).map(lambda data: base64.urlsafe_b64encode(data).decode() + ".e30.x"))
def test_no_text_does_more_than_be_refused(text: str) -> None:
    assert refused(Verifier([]), text) == "CREDENTIAL_INVALID"


def test_keys_and_trust_come_back_from_their_files(tmp_path: Path, gateway: Signer, worker: Signer) -> None:
    gateway.save(tmp_path / "gateway")
    trusted = [TrustedKey("gateway", gateway.public_key(), None), TrustedKey("worker", worker.public_key(), SERVICE)]
    save_trust(tmp_path / "trust", trusted)
    verifier = Verifier.load(tmp_path / "trust")
    assert verifier.verify(Signer.load(tmp_path / "gateway").sign(APP)) == APP
    assert verifier.verify(worker.own_token()) == SERVICE
    assert "private" not in (tmp_path / "trust").read_text()


def test_namespaces_compare_without_case_and_the_star_is_everywhere() -> None:
    assert APP.role_in("TEAM") is Role.PUBLISHER
    assert APP.role_in("other") is Role.VIEWER
    assert APP.role_in("*") is Role.VIEWER
    assert Principal("x", {"Team": Role.ADMIN}).role_in("*") is None
    assert Principal("x", {"Team": Role.ADMIN}).has(Role.TRAINER, "team")
    assert not APP.has(Role.TRAINER, "team")
