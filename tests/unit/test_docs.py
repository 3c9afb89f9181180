"""Documents that name files name files that exist."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent.parent
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").rglob("*.md")]
LINK = re.compile(r"\]\((?!https?://|#)([^)#]+)")
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
