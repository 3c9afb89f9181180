"""The list of planted bugs follows the sources: every bug can still be planted, and its tests are there."""

import ast

import pytest

from planted.plant import ROOT, Bug, bugs


@pytest.mark.parametrize("bug", bugs(), ids=lambda bug: bug.name)
def test_the_bug_can_be_planted(bug: Bug) -> None:
    ast.parse(bug.planted((ROOT / bug.file).read_text()))
    assert bug.tests
    assert all((ROOT / test).exists() for test in bug.tests)


def test_there_are_twenty_bugs_of_different_kinds() -> None:
    assert len({bug.name for bug in bugs()}) >= 20
    assert len({bug.file for bug in bugs()}) >= 12
