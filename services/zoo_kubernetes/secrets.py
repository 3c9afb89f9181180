"""A cluster's credentials as Kubernetes Secrets: one that holds them all, and for each pod one with what it needs.

The first is created in one request, so there is only ever one set of them; the others are made from it. So it does not
matter where a run dies or how many run at once: the next one ends what is missing and changes nothing that is there.
"""

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

from zoo_server.credentials import make_credentials

__all__ = ["ALL", "Secrets", "ensure_secrets", "secrets_of"]

ALL = "zoo-credentials"
# Files that a Secret made by an older release does not have; nobody may change it.
OF_LATER_RELEASES = frozenset({"training.json", "trainer.json"})


class Secrets(Protocol):
    """The Secrets of a namespace: names to files, file names to contents."""

    def get(self, name: str) -> Mapping[str, str] | None:
        """The files of a Secret; None where there is no such Secret."""
        ...

    def create(self, name: str, files: Mapping[str, str]) -> bool:
        """Create a Secret; False, leaving it alone, where there is one of that name."""
        ...


def ensure_secrets(secrets: Secrets) -> list[str]:
    """Leave every Secret that the manifests name; the names of those that were missing."""
    made: list[str] = []
    if secrets.get(ALL) is None and secrets.create(ALL, _new_files()):
        made.append(ALL)
    files = secrets.get(ALL)
    if files is None:
        raise RuntimeError(f"the Secret {ALL} was there and is gone")
    if missing := OF_LATER_RELEASES - set(files):
        raise RuntimeError(
            f"the Secret {ALL} is of an older release and lacks {', '.join(sorted(missing))}: delete it and those "
            "whose names begin with zoo-identity or zoo-trust, apply again, and restart the pods"
        )
    made += [name for name, content in secrets_of(files).items() if secrets.create(name, content)]
    return made


def secrets_of(files: Mapping[str, str]) -> dict[str, dict[str, str]]:
    """What each pod is given of the credentials' files, by the Secret's name."""
    password = files["redis_password"]
    return {
        "zoo-trust": {"trust.json": files["trust.json"]},
        "zoo-identity-gateway": {"identity.json": files["gateway.json"]},
        "zoo-identity-catalog": {"identity.json": files["catalog.json"]},
        "zoo-identity-worker": {"identity.json": files["worker.json"]},
        "zoo-identity-training": {"identity.json": files["training.json"]},
        "zoo-identity-trainer": {"identity.json": files["trainer.json"]},
        "zoo-admin-key": {"admin_key": files["admin_key"]},
        "zoo-redis": {"password": password, "redis.conf": f"requirepass {password}\n"},
        "zoo-s3": {"access_key": files["s3_access_key"], "secret_key": files["s3_secret_key"]},
    }


def _new_files() -> dict[str, str]:
    with tempfile.TemporaryDirectory() as folder:
        make_credentials(Path(folder))
        return {path.name: path.read_text() for path in sorted(Path(folder).iterdir())}
