"""The detector of digits, trained for two steps: too few to learn, enough to be made, loaded and measured."""

from pathlib import Path

import pytest
from PIL import Image

from modelzoo.tasks.opening import open_task
from zoo_starters.card import read_measured
from zoo_starters.dfine_mini_digits import (
    BATCH,
    DFINE_MINI_DIGITS,
    PEAK_RATE,
    QUERIES,
    SEED,
    WEIGHT_DECAY,
    configuration,
)
from zoo_starters.digit_detector import train_detector
from zoo_starters.scenes import example
from zoo_starters.starter import build
from zoo_starters.training import Plan


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

    for measured in read_measured(folder):
        what = f"{measured.metric} on {measured.items:,} scenes of held-out digits"
        assert f"| {what} | **{measured.trained:.3f}**" in card
        assert measured.baseline < 0.01
    assert "A stand-in" in card


def test_the_same_seed_gives_the_same_weights(folder: Path, tmp_path: Path) -> None:
    train_detector(tmp_path, configuration(), Plan(SEED, 2, BATCH, PEAK_RATE, WEIGHT_DECAY), "again")

    assert (tmp_path / "model.safetensors").read_bytes() == (folder / "model.safetensors").read_bytes()
