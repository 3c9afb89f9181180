"""What `make` alone explains."""

import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent


def test_help_in_a_pipe_is_plain_text():
    said = subprocess.run(["make", "help"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert "starters " in said
    assert "\x1b" not in said
    assert "$$" not in said
