import hashlib
import secrets

import pytest

from modelzoo.errors import Unauthenticated, Unavailable
from zoo_gateway.access import Access, Key
from zoo_gateway.identity import STALE_MOST_S, Identity
from zoo_server.principal import Principal, Role, TrustedKey, Verifier, create_signer

SECRET = "zoo_0123456789abcdef_" + secrets.token_urlsafe(32)
SIGNER = create_signer("gateway")
VERIFIER = Verifier([TrustedKey("gateway", SIGNER.public_key(), None)])
PRINCIPAL = Principal("team:a", {"ns": Role.INVOKER})


class Clock:
    now = 1_000_000.0

    def __call__(self) -> float:
        return self.now


def access(expires: float | None = None, revoked: float | None = None) -> Access:
    key = Key("0123456789abcdef", hashlib.sha256(SECRET.encode()).digest(), "team:a", expires, revoked)
    return Access({key.id: key}, {"team:a": PRINCIPAL})


def identity(given: Access, clock: Clock) -> Identity:
    made = Identity(SIGNER, clock)
    made.replace(given)
    return made


def reason(identity: Identity, authorization: str) -> str:
    with pytest.raises(Unauthenticated) as caught:
        identity.token(authorization)
    return caught.value.reason


@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "BEARER"])
def test_valid_key_becomes_the_principal_of_its_subject(scheme):
    token = identity(access(), Clock()).token(f"{scheme} {SECRET}")
    assert VERIFIER.verify(token) == PRINCIPAL


def test_subject_without_grants_has_no_roles():
    key = Key("0123456789abcdef", hashlib.sha256(SECRET.encode()).digest(), "team:b", None, None)
    token = identity(Access({key.id: key}, {}), Clock()).token(f"Bearer {SECRET}")
    assert VERIFIER.verify(token) == Principal("team:b")


@pytest.mark.parametrize(
    ("authorization", "expected"),
    [
        ("", "CREDENTIAL_MISSING"),
        (SECRET, "CREDENTIAL_INVALID"),
        (f"Basic {SECRET}", "CREDENTIAL_INVALID"),
        ("Bearer ", "CREDENTIAL_INVALID"),
        (f"Bearer {SECRET}x", "CREDENTIAL_INVALID"),
        (f"Bearer {SECRET[:-1]}{'A' if SECRET[-1] != 'A' else 'B'}", "CREDENTIAL_INVALID"),
        ("Bearer zoo_ffffffffffffffff_" + SECRET[21:], "CREDENTIAL_INVALID"),
        ("Bearer zoo_0123456789ABCDEF_" + SECRET[21:], "CREDENTIAL_INVALID"),
    ],
    # The secret is another one in every run.
    ids=["none", "no scheme", "another scheme", "empty", "longer", "altered", "another's name", "capitals"],
)
def test_bad_credential_is_refused_with_its_reason(authorization, expected):
    assert reason(identity(access(), Clock()), authorization) == expected


def test_refusal_does_not_repeat_the_credential():
    with pytest.raises(Unauthenticated) as caught:
        identity(access(), Clock()).token(f"Bearer {SECRET}x")
    assert SECRET not in caught.value.message


def test_key_stops_when_it_expires_though_its_token_is_cached():
    clock = Clock()
    made = identity(access(expires=clock.now + 10), clock)
    made.token(f"Bearer {SECRET}")
    clock.now += 10
    assert reason(made, f"Bearer {SECRET}") == "CREDENTIAL_EXPIRED"


def test_revoked_key_is_refused_from_the_next_snapshot_on():
    clock = Clock()
    made = identity(access(), clock)
    made.token(f"Bearer {SECRET}")
    made.replace(access(revoked=clock.now))
    assert reason(made, f"Bearer {SECRET}") == "CREDENTIAL_REVOKED"


def test_token_is_reused_until_shortly_before_it_lapses():
    clock = Clock()
    made = identity(access(), clock)
    first = made.token(f"Bearer {SECRET}")
    clock.now += 39
    assert made.token(f"Bearer {SECRET}") is first
    clock.now += 1
    assert made.token(f"Bearer {SECRET}") is not first


def test_cached_token_is_not_given_for_a_wrong_secret_of_the_same_key():
    made = identity(access(), Clock())
    made.token(f"Bearer {SECRET}")
    assert reason(made, f"Bearer {SECRET[:21]}{'x' * 43}") == "CREDENTIAL_INVALID"


def test_last_snapshot_serves_for_five_minutes_without_the_catalog():
    clock = Clock()
    made = identity(access(), clock)
    made.lose()
    clock.now += STALE_MOST_S
    made.lose()
    made.token(f"Bearer {SECRET}")
    clock.now += 1
    with pytest.raises(Unavailable) as caught:
        made.token(f"Bearer {SECRET}")
    assert (caught.value.reason, caught.value.retry_after_s) == ("DEPENDENCY_UNAVAILABLE", 2.0)


def test_before_the_first_snapshot_every_call_is_put_off():
    with pytest.raises(Unavailable):
        Identity(SIGNER).token(f"Bearer {SECRET}")
