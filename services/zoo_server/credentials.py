"""Who trusts whom in a cluster: made once, kept in files that only their owner can read.

Identities: `gateway` signs for callers, `training` for its jobs and itself, the others for themselves.
"""

import secrets
from dataclasses import dataclass, field
from pathlib import Path

from zoo_server.principal import (
    EVERYWHERE,
    Delegation,
    Principal,
    Role,
    Signer,
    TrustedKey,
    create_signer,
    save_trust,
)

__all__ = ["JOB_PREFIX", "TRAINER", "Credentials", "admin_key_path", "make_credentials", "write_secret"]

GATEWAY = "gateway"
# The subject of every trainer's agent. It has no role: what it works on, it reaches as the job.
TRAINER = "service:trainer"
# Subjects of jobs begin so; each has roles in the namespaces of its own base, dataset and output alone.
JOB_PREFIX = "job:"
# What each kid may say of itself; the gateway may assert anybody.
OWN: dict[str, Principal | None] = {
    GATEWAY: None,
    # It says who may do what anyway; quarantining needs an admin.
    "catalog": Principal("service:catalog", {EVERYWHERE: Role.ADMIN}),
    "worker": Principal("service:worker", {EVERYWHERE: Role.VIEWER}),
    # It pins what jobs need, publishes what they make, and asks whether their creators may.
    "training": Principal("service:training", {EVERYWHERE: Role.TRAINER}),
    "trainer": Principal(TRAINER),
}
# Whom a kid may assert beside itself.
DELEGATED = {"training": Delegation(JOB_PREFIX, Role.PUBLISHER)}
SECRET_BYTES = 32
KEY_ID_BYTES = 8


@dataclass(frozen=True, slots=True)
class Credentials:
    """Paths of what is read from files, and the secrets that only environments can carry."""

    trust: Path
    admin_key: Path
    identities: dict[str, Path]
    redis_password: str = field(repr=False)
    s3_access_key: str = field(repr=False)
    s3_secret_key: str = field(repr=False)


def make_credentials(folder: Path) -> Credentials:
    """The credentials in `folder`; what is missing is made."""
    return Credentials(
        trust=_trust(folder),
        admin_key=_kept(admin_key_path(folder), f"zoo_{secrets.token_hex(KEY_ID_BYTES)}_"),
        identities={kid: folder / f"{kid}.json" for kid in OWN},
        redis_password=_kept(folder / "redis_password").read_text(),
        s3_access_key=_kept(folder / "s3_access_key").read_text(),
        s3_secret_key=_kept(folder / "s3_secret_key").read_text(),
    )


def admin_key_path(folder: Path) -> Path:
    return folder / "admin_key"


def write_secret(path: Path, content: str) -> None:
    """Leave `content` in a file that only its owner can read: all of it, or what was there before."""
    unfinished = path.with_suffix(".new")
    unfinished.unlink(missing_ok=True)
    unfinished.touch(mode=0o600)
    unfinished.write_text(content)
    unfinished.rename(path)


def _trust(folder: Path) -> Path:
    trusted: list[TrustedKey] = []
    for kid, principal in OWN.items():
        path = folder / f"{kid}.json"
        if not path.exists():
            unfinished = path.with_suffix(".new")
            create_signer(kid).save(unfinished)
            unfinished.rename(path)
        trusted.append(TrustedKey(kid, Signer.load(path).public_key(), principal, DELEGATED.get(kid)))
    path = folder / "trust.json"
    save_trust(path, trusted)
    return path


def _kept(path: Path, prefix: str = "") -> Path:
    if not path.exists():
        write_secret(path, prefix + secrets.token_urlsafe(SECRET_BYTES))
    return path
