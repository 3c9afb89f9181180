"""Documents that name files and tests name those that exist."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent.parent
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").rglob("*.md")]
LINK = re.compile(r"\]\((?!https?://|#)([^)#]+)")
LOSSES = ROOT / "docs/explanation/known-losses.md"
TEST = re.compile(r"`(tests/[\w/]+\.py)::(\w+)`")
MAP_ROW = re.compile(r"^\| [^|]+ \| \[[^]]+\]\(([^)]+)\) \| ((?:`[^`]+`,? ?)+) \|$", re.MULTILINE)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_leads_somewhere(page: Path) -> None:
    broken = [link for link in LINK.findall(page.read_text()) if not (page.parent / link).exists()]
    assert broken == []


def test_every_file_of_the_map_is_where_it_says() -> None:
    rows = MAP_ROW.findall((ROOT / "README.md").read_text())
    assert len(rows) >= 6
    for folder, files in rows:
        for name in re.findall(r"`([^`]+)`", files):
            assert (ROOT / folder / name).is_file(), f"{folder}/{name}"


def test_every_test_that_a_known_loss_names_is_there_and_runs() -> None:
    rows = [line for line in LOSSES.read_text().splitlines() if line.startswith("| ") and "shown by" not in line]
    assert len(rows) >= 38
    for row in rows:
        named = TEST.findall(row)
        assert named, row
        for path, name in named:
            text = (ROOT / path).read_text()
            assert re.search(rf"^(?:async )?def {name}\(", text, re.MULTILINE), f"{path}::{name}"
            assert not re.search(rf"mark\.(?:skip|xfail)[^\n]*\n(?:@[^\n]*\n)*(?:async )?def {name}\(", text), name
