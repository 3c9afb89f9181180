"""Each benchmark runs one tiny iteration, so that it cannot rot."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent.parent


NAMES = (
    "gateway",
    "bytes",
    "first-token",
    "pictures",
    "catalog",
    "jobs",
    "recipe-overhead",
    "checkpoints",
    "transfer",
)


@pytest.mark.parametrize("name", NAMES)
def test_a_benchmark_measures_something(name: str) -> None:
    argv = [sys.executable, "-m", "benchmarks", name, "--tiny"]
    done = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, timeout=240, check=False)
    assert done.returncode == 0, done.stderr
    assert "│" in done.stdout
