"""What an installation pulls in, from the metadata of the packages themselves."""

import re
import subprocess
from importlib.metadata import PackageNotFoundError, requires
from pathlib import Path

from packaging.requirements import Requirement

ROOT = Path(__file__).resolve().parents[2]

HEAVY = {"torch", "transformers", "boto3", "sqlalchemy", "redis"}


def closure(name: str, extras: frozenset[str] = frozenset()) -> set[str]:
    """Every distribution that installing `name` with these extras pulls in on this platform."""
    found: set[str] = set()
    waiting = [(name, extras)]
    while waiting:
        package, wanted = waiting.pop()
        found.add(re.sub(r"[-_.]+", "-", package).lower())
        try:
            lines = requires(package) or []
        except PackageNotFoundError:  # an optional package that this environment does not have
            continue
        for requirement in map(Requirement, lines):
            applies = requirement.marker is None or any(
                requirement.marker.evaluate({"extra": extra}) for extra in ("", *wanted)
            )
            key = re.sub(r"[-_.]+", "-", requirement.name).lower()
            if applies and (key not in found or requirement.extras):
                waiting.append((requirement.name, frozenset(requirement.extras)))
                found.add(key)
    return found


def test_make_explains_itself_to_pipes_in_plain_text() -> None:
    told = subprocess.run(["make", "help"], cwd=ROOT, check=True, capture_output=True, text=True).stdout
    assert "  starters   Publish" in told
    assert not {"\x1b", "$"} & set(told)


def test_the_client_alone_pulls_in_nothing_heavy() -> None:
    assert closure("modelzoo") & HEAVY == set()


def test_only_workers_bring_torch() -> None:
    for role in ("artifact", "catalog", "training", "gateway"):
        assert "torch" not in closure("modelzoo", frozenset({role}))
    assert "torch" in closure("modelzoo", frozenset({"worker"}))
