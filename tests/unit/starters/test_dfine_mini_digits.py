"""The detector of digits, trained for two steps: too few to learn, enough to be made, loaded and measured."""

from pathlib import Path

import pytest
from PIL import Image

from modelzoo.tasks.opening import open_task
from zoo_starters.dfine_mini_digits import DFINE_MINI_DIGITS, QUERIES
from zoo_starters.learned import read_tables
from zoo_starters.scenes import example
from zoo_starters.starter import STAND_IN_ITEMS, build


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(DFINE_MINI_DIGITS, tmp_path_factory.mktemp("starters"), steps=2)


def test_pictures_of_any_size_are_searched_alone_and_together(folder: Path) -> None:
    detector = open_task(folder)
    pictures = [example(0), Image.new("RGB", (37, 411), "white"), example(1)]

    together = detector.compute([detector.prepare(picture) for picture in pictures])
    alone = [detector.compute([detector.prepare(picture)])[0] for picture in pictures]

    for picture, one, other in zip(pictures, together, alone, strict=True):
        assert len(one.detections) == QUERIES
        assert (one.width, one.height) == picture.size
        assert all(0 <= each.box.x_min <= each.box.x_max <= picture.width for each in one.detections)
        assert [each.label.score for each in one.detections] == pytest.approx(
            [each.label.score for each in other.detections], abs=1e-4
        )


def test_the_card_has_the_figures_and_says_that_it_is_a_stand_in(folder: Path) -> None:
    card = (folder / "README.md").read_text()

    for measured in read_tables(folder):
        assert f"| {measured.metric} | {measured.untrained:.4f} | **{measured.trained:.4f}** |" in card
        assert measured.items == STAND_IN_ITEMS
    assert "A stand-in" in card
