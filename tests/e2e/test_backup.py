"""docs/how-to/backup.md: its drill, on a cluster of its own, as it is printed."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from support.cluster import zoo
from zoo_local.layout import Layout

PAGE = Path(__file__).resolve().parents[2] / "docs" / "how-to" / "backup.md"
DRILL = re.compile(r"^```sh drill\n(.*?)^```", re.DOTALL | re.MULTILINE)
WITHIN_S = 500

pytestmark = pytest.mark.timeout(2 * WITHIN_S)


def test_the_drill_of_the_page_brings_a_zoo_back(tmp_path: Path) -> None:
    (drill,) = DRILL.findall(PAGE.read_text())
    environment = {
        **os.environ,
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "ZOO_DRILL": str(tmp_path),
        "ZOO_CACHE": str(tmp_path / "cache"),
    }
    layout = Layout(tmp_path / "zoo")
    try:
        done = subprocess.run(
            ["bash", "-c", drill], env=environment, capture_output=True, text=True, timeout=WITHIN_S, check=False
        )
        assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    finally:
        zoo("down", "--data", str(layout.root))
    assert "every byte is what it was" in done.stdout
    assert "fsck: every byte read, 0 findings" in done.stdout
    assert "sweeping is off: index rebuilt: waiting for holders" in done.stderr
    refused = zoo("restore", str(tmp_path / "backup"), "--data", str(layout.root), rc=6)
    assert refused == ""
