"""The job's principal: the agent gets it with the lease and with every renewal, the child reads it for each call."""

import os
from pathlib import Path

__all__ = ["PrincipalFile"]


class PrincipalFile:
    """A token in a file that only its owner can read; it is always a whole one."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def write(self, token: str) -> None:
        new = self._path.with_suffix(".new")
        descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "w") as file:
            file.write(token)
        new.rename(self._path)

    def own_token(self) -> str:
        return self._path.read_text()
