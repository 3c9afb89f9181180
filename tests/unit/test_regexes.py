"""No pattern of ours takes more than linear time over one repeated character, wherever it meets strangers' text."""

import importlib
import re
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FOLDERS = ("client", "store", "services", "gateway")
# The starters read nothing but what they have fetched by its digest.
SOURCES = sorted(
    path for folder in FOLDERS for path in (ROOT / folder).rglob("*.py") if "zoo_starters" not in path.parts
)
ANYWHERE = ("search", "finditer", "findall", "split", "sub")
RULE = re.compile(r'pattern: "((?:[^"\\]|\\.)*)"')


def patterns() -> Iterator[tuple[str, re.Pattern[str] | re.Pattern[bytes], bool]]:
    """Every compiled pattern of a module with its name, and whether it is looked for anywhere in a text."""
    for path in SOURCES:
        text = path.read_text()
        if "re.compile(" not in text:
            continue
        name = ".".join(path.relative_to(ROOT).with_suffix("").parts[1:])
        for attribute, value in vars(importlib.import_module(name)).items():
            if isinstance(value, re.Pattern):
                yield f"{name}.{attribute}", value, any(f"{attribute}.{how}(" in text for how in ANYWHERE)
    for path in sorted((ROOT / "protos/zoo").rglob("*.proto")):
        for number, found in enumerate(RULE.findall(path.read_text())):
            yield f"{path.name}[{number}]", re.compile(found.replace("\\\\", "\\")), False


FOUND = list(patterns())


def seconds(pattern: re.Pattern[str] | re.Pattern[bytes], text: str, anywhere: bool) -> float:
    given = text.encode() if isinstance(pattern.pattern, bytes) else text
    ways = [pattern.match, pattern.fullmatch, *([partial(pattern.sub, given[:0])] if anywhere else [])]
    began = time.thread_time()
    for way in ways:
        way(given)  # type: ignore[arg-type]
    return time.thread_time() - began


@pytest.mark.parametrize(("pattern", "anywhere"), [found[1:] for found in FOUND], ids=[found[0] for found in FOUND])
def test_100_kb_of_one_character_take_no_time(pattern: re.Pattern[str] | re.Pattern[bytes], anywhere: bool) -> None:
    said = pattern.pattern.decode("latin-1") if isinstance(pattern.pattern, bytes) else pattern.pattern
    for character in sorted({*said, *"a0 \n._-/"}):
        # What is quadratic shows in a fifth of it; only that is tried with all.
        if seconds(pattern, character * 20_000 + "\0", anywhere) > 0.02:
            assert seconds(pattern, character * 100_000 + "\0", anywhere) < 1, ascii(character)


def test_the_patterns_are_found_and_a_bad_one_is_seen() -> None:
    assert len(FOUND) > 50
    assert sum(anywhere for _, _, anywhere in FOUND) > 5
    assert seconds(re.compile(r"a*b"), "a" * 20_000 + "\0", anywhere=True) > 0.02
