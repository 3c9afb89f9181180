"""Several ranks train as one does: the same batches, the same orders, the same weights after a pause."""

import json
import math
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from support.together import Together, attempt_together
from support.training import attempt, lease, topics, write_rows
from zoo.training.v1 import job_pb2
from zoo_trainer.drawing import _Batches
from zoo_trainer.plan import make_plan
from zoo_trainer.ranks import Ranks
from zoo_trainer.recipes import TrainingSettings

# Sums come in another order, and AdamW makes much of what is next to nothing: of losses around 1, and of weights.
LOSS_TOLERANCE, WEIGHT_TOLERANCE = 1e-5, 2e-3
STEPS = 8
# Of 21 rows, batches of 10 in portions of 5, which two cannot share evenly; the last batch of an epoch has one row.
SETTINGS = {"learning_rate": 0.003, "checkpoint_steps": 3, "batch_size": 10, "micro_batch_size": 3}


@pytest.fixture
def rows(tmp_path: Path) -> Path:
    return write_rows(tmp_path / "data", train=topics(21), test=topics(45)[21:])


@pytest.fixture(scope="module")
def calm(encoder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The encoder without dropout: nothing is drawn that differs from rank to rank."""
    folder = Path(shutil.copytree(encoder, tmp_path_factory.mktemp("calm") / "encoder"))
    config = json.loads((folder / "config.json").read_text())
    config |= {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
    (folder / "config.json").write_text(json.dumps(config))
    return folder


def together(folder: Path, base: Path, data: Path, settings: dict[str, Any] = SETTINGS, **more: Any) -> Together:
    leased = lease("text-classification", settings, steps=STEPS)
    return attempt_together(folder, base, data, leased, **{"count": 2, **more})


@pytest.mark.parametrize("count", [2, 3])
def test_ranks_share_every_batch_of_one(count: int) -> None:
    plan = make_plan(TrainingSettings(batch_size=5), job_pb2.Budget(), rows=23, seed=1)

    def drawn(ranks: Ranks) -> list[list[tuple[int, bool]]]:
        return [[(draw.row, draw.counts) for draw in batch] for batch in _Batches(23, plan, None, ranks)]

    whole = drawn(Ranks())
    shares = [drawn(Ranks(rank, count)) for rank in range(count)]
    for number, batch in enumerate(whole):
        counted = [row for share in shares for row, counts in share[number] if counts]
        assert sorted(counted) == sorted(row for row, _ in batch)
        assert all(share[number] for share in shares)


def test_two_ranks_come_to_what_one_comes_to(calm: Path, rows: Path, tmp_path: Path) -> None:
    both = together(tmp_path / "both", calm, rows)
    alone = attempt(tmp_path, calm, rows, lease("text-classification", SETTINGS, steps=STEPS))
    assert both.ends == ["OUTCOME_TRAINED", "OUTCOME_TRAINED"], both.logs
    assert both.losses[0] == pytest.approx(alone.losses[0], abs=LOSS_TOLERANCE)  # of the first step, before any change
    from safetensors.numpy import load_file

    for name, tensor in load_file(alone.result / "model.safetensors").items():
        if name.endswith("key.bias"):
            continue  # attention does not depend on it: its gradient is rounding, of which AdamW makes steps
        np.testing.assert_allclose(both.weights[name], tensor, atol=WEIGHT_TOLERANCE, rtol=0)
    assert dict(both.measured)["accuracy"] == alone.measured("accuracy").after


def test_after_a_pause_two_ranks_come_to_the_same_bits(encoder: Path, rows: Path, tmp_path: Path) -> None:
    quiet = together(tmp_path / "quiet", encoder, rows)
    paused = together(tmp_path / "paused", encoder, rows, pause_after=1)
    assert paused.ends == ["OUTCOME_STOPPED", "OUTCOME_STOPPED"], paused.logs
    resumed = together(tmp_path / "resumed", encoder, rows, checkpoint=paused.checkpoints[-1])
    assert "from the checkpoint of step 4" in resumed.logs
    for name, tensor in quiet.weights.items():
        np.testing.assert_array_equal(resumed.weights[name], tensor)


def test_a_loss_that_is_no_number_ends_all_ranks(calm: Path, rows: Path, tmp_path: Path) -> None:
    settings = {**SETTINGS, "learning_rate": 1e3, "gradient_norm": 0.0, "warmup": 0.0, "schedule": "constant"}
    ended = together(tmp_path / "wild", calm, rows, settings)
    assert math.isfinite(ended.losses[0])
    assert ended.ends == ["OUTCOME_HOPELESS LOSS_NOT_FINITE"] * 2


def test_more_ranks_than_examples_of_a_batch_are_refused(calm: Path, rows: Path, tmp_path: Path) -> None:
    ended = together(tmp_path / "few", calm, rows, {"batch_size": 1})
    assert ended.ends == ["OUTCOME_HOPELESS PARAMETER_INVALID"] * 2
    assert "2 processes have nothing to share in batches of 1" in ended.logs
