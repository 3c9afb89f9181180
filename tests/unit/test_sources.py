"""Sources stay readable: a file is one idea."""

from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
FOLDERS = ("benchmarks", "client", "docs", "gateway", "protos", "services", "store", "tests")
LINES_MAX = 400


def test_no_python_file_is_too_long_to_be_one_idea() -> None:
    lines = {path: path.read_bytes().count(b"\n") for folder in FOLDERS for path in (ROOT / folder).rglob("*.py")}
    assert len(lines) > 400
    assert [str(path.relative_to(ROOT)) for path, count in lines.items() if count > LINES_MAX] == []
