"""The figures of the trained starters' cards, measured again from the files that `make starters` published.

They are those of $ZOO_URL and $ZOO_KEY; otherwise of the local zoo, which `make starters` leaves up.
"""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from modelzoo.client import Client
from zoo_starters.card import is_stand_in
from zoo_starters.command import WORK, is_as_good
from zoo_starters.learned import Learned, read_tables
from zoo_starters.publish import STARTERS
from zoo_starters.starter import Measured, Starter, Training

TRAINED = [starter for starter in STARTERS if starter.training]
LOWER_IS_BETTER = {"loss", "perplexity"}
# How far from the better of the two that know nothing to a perfect figure the first figure must be.
SHARE_OF_THE_WAY = {
    "zoo/alexnet-digits": 0.9,
    "zoo/resnet18-digits": 0.9,
    "zoo/bert-mini-wordnet": 0.4,
    "zoo/gpt2-mini": 0.4,
    "zoo/dfine-mini-digits": 0.6,
}

pytestmark = pytest.mark.timeout(1800)


@pytest.fixture(scope="module")
def zoo() -> Iterator[Client]:
    found = os.environ
    if "ZOO_URL" not in found:
        command = str(Path(sys.executable).with_name("zoo"))
        said = subprocess.run([command, "env"], capture_output=True, text=True, check=True).stdout
        found = dict(line.split("=", 1) for line in said.splitlines())
    with Client(found["ZOO_URL"], found["ZOO_KEY"]) as client:
        yield client


@pytest.fixture(scope="module", params=TRAINED, ids=lambda each: each.name)
def made(request: pytest.FixtureRequest, zoo: Client) -> tuple[Starter, Path]:
    starter: Starter = request.param
    folder = zoo.pull(starter.name)
    assert not is_stand_in(folder, training(starter).steps)
    return starter, folder


def test_the_card_s_figures_are_measured_again(made: tuple[Starter, Path]) -> None:
    starter, folder = made
    said, found = read_tables(folder), training(starter).measure(WORK / "packages", folder)
    assert [(each.metric, each.on, each.items) for each in said] == [
        (each.metric, each.on, each.items) for each in found
    ]
    for before, now in zip(said, found, strict=True):
        for figure in ("trained", "baseline", "untrained"):
            assert is_as_good(getattr(before, figure), getattr(now, figure))


def test_it_has_learned_what_neither_a_guess_nor_fresh_weights_know(made: tuple[Starter, Path]) -> None:
    starter, folder = made
    for place, figure in enumerate(read_tables(folder)):
        assert figure.trained != figure.untrained
        assert way(figure) > (SHARE_OF_THE_WAY.get(starter.name, 0.1) if place == 0 else 0.1)


def test_its_lineage_shows_the_untrained_network_the_dataset_and_the_job(
    made: tuple[Starter, Path], zoo: Client
) -> None:
    starter, _ = made
    learned = starter.make
    assert isinstance(learned, Learned)
    found = zoo.lineages.get(starter.name, direction="up")
    (edge,) = found.edges
    assert found.nodes[edge.parent].reference.partition("@")[0] == learned.base.name
    assert edge.dataset.partition("@")[0] == learned.dataset.name
    assert zoo.jobs.get(edge.job).spec.seed == learned.seed


def way(figure: Measured) -> float:
    """0 where the model is as good as the better of the baseline and the untrained network, 1 where it is perfect."""
    if figure.metric in LOWER_IS_BETTER:
        return 1 - figure.trained / min(figure.baseline, figure.untrained)
    ignorant = max(figure.baseline, figure.untrained)
    return (figure.trained - ignorant) / (1 - ignorant)


def training(starter: Starter) -> Training:
    assert starter.training is not None
    return starter.training
