"""Puts each bug of bugs.toml into a copy of the sources and runs the tests that must notice it.

python tests/planted/plant.py [WORD ...]    those whose names have all of the words; all, without any

Exit code 1, naming them, where bugs went unnoticed.
"""

import os
import shutil
import subprocess
import sys
import tempfile
import time
import tomllib
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
LIST = Path(__file__).with_name("bugs.toml")
# Where packages lie; first on the path of the tests and of every process that they start.
SOURCES = ("client", "store", "services", "gateway")
TESTS_FAILED = 1  # pytest's exit status; others mean that nothing was tested


@dataclass(frozen=True, slots=True)
class Bug:
    name: str
    file: str
    was: str
    becomes: str
    tests: tuple[str, ...]

    def planted(self, source: str) -> str:
        """The source with the bug. ValueError where it is not what it was when the bug was thought of."""
        if source.count(self.was) != 1:
            raise ValueError(f"{self.file} has `was` {source.count(self.was)} times, not once: {self.name}")
        return source.replace(self.was, self.becomes)


def bugs() -> list[Bug]:
    return [Bug(**{**entry, "tests": tuple(entry["tests"])}) for entry in tomllib.loads(LIST.read_text())["bug"]]


def is_noticed(bug: Bug) -> bool:
    with tempfile.TemporaryDirectory(prefix="zoo-planted-") as folder:
        copy = Path(folder)
        for name in SOURCES:
            shutil.copytree(ROOT / name, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
        file = copy / bug.file
        file.write_text(bug.planted(file.read_text()))
        path = os.pathsep.join(str(copy / name) for name in SOURCES)
        argv = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", *bug.tests]
        environment = {**os.environ, "PYTHONPATH": path, "PYTHONDONTWRITEBYTECODE": "1"}
        done = subprocess.run(argv, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
        if done.returncode not in (0, TESTS_FAILED):
            raise RuntimeError(f"{bug.name}: nothing was tested\n{done.stdout[-2000:]}{done.stderr[-2000:]}")
        return done.returncode == TESTS_FAILED


def main() -> int:
    chosen = [bug for bug in bugs() if all(word in bug.name for word in sys.argv[1:])]
    unnoticed: list[str] = []
    for bug in chosen:
        started = time.monotonic()
        noticed = is_noticed(bug)
        print(f"{'noticed' if noticed else 'UNNOTICED'}  {time.monotonic() - started:5.1f} s  {bug.name}", flush=True)
        if not noticed:
            unnoticed.append(bug.name)
    print(f"{len(chosen) - len(unnoticed)} of {len(chosen)} planted bugs were noticed")
    return 1 if unnoticed else 0


if __name__ == "__main__":
    sys.exit(main())
