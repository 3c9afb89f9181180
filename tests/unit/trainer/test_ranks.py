"""Several ranks train as one does: the same batches, the same orders, the same weights after a pause."""

import json
import math
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from modelzoo.errors import InvalidArgument
from support.together import Together, attempt_together
from support.training import attempt, lease, topics, write_rows
from zoo.training.v1 import job_pb2
from zoo.training.v1 import trainer_service_pb2 as pb
from zoo_trainer.drawing import _Batches
from zoo_trainer.plan import make_plan
from zoo_trainer.ranks import Ranks
from zoo_trainer.recipes import TrainingSettings
from zoo_trainer.stopping import Order

# Sums come in another order, and AdamW makes much of what is next to nothing: of losses and outputs around 1, and of
# weights.
LOSS_TOLERANCE, OUTPUT_TOLERANCE, WEIGHT_TOLERANCE = 1e-5, 2e-3, 2e-3
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


def outputs(folder: Path, weights: Mapping[str, np.ndarray]) -> np.ndarray:
    """What a model of the folder's kind says of some texts with all of these weights: one row of logits for each."""
    import torch
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    model = AutoModelForSequenceClassification.from_pretrained(folder)
    model.load_state_dict({name: torch.from_numpy(weight) for name, weight in weights.items()})
    texts = [row["text"] for row in topics(45)]
    with torch.no_grad():
        return model(**AutoTokenizer.from_pretrained(folder)(texts, padding=True, return_tensors="pt")).logits.numpy()


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

    single = load_file(alone.result / "model.safetensors")
    for name, tensor in single.items():
        # A key's bias adds the same to all scores of a query, which softmax does not see: its gradient is nothing but
        # rounding, of which AdamW makes whole steps. What it does is compared by what the model says.
        if not name.endswith("key.bias"):
            np.testing.assert_allclose(both.weights[name], tensor, atol=WEIGHT_TOLERANCE, rtol=0)
    of_both, of_one = (outputs(alone.result, weights) for weights in (both.weights, single))
    np.testing.assert_allclose(of_both, of_one, atol=OUTPUT_TOLERANCE, rtol=0)
    assert dict(both.measured)["accuracy"] == alone.measured("accuracy").after


def test_after_a_pause_two_ranks_come_to_the_same_bits(encoder: Path, rows: Path, tmp_path: Path) -> None:
    quiet = together(tmp_path / "quiet", encoder, rows)
    paused = together(tmp_path / "paused", encoder, rows, order=(1, Order.PAUSE))
    assert paused.ends == ["OUTCOME_STOPPED", "OUTCOME_STOPPED"], paused.logs
    resumed = together(tmp_path / "resumed", encoder, rows, checkpoint=paused.checkpoints[-1])
    assert "from the checkpoint of step 4" in resumed.logs
    for name, tensor in quiet.weights.items():
        np.testing.assert_array_equal(resumed.weights[name], tensor)


@pytest.mark.parametrize(
    ("order", "outcome", "kept"), [(Order.CANCEL, "OUTCOME_STOPPED", 1), (Order.YIELD, "OUTCOME_YIELDED", 2)]
)
def test_what_the_first_rank_is_told_stops_all(
    order: Order, outcome: str, kept: int, encoder: Path, rows: Path, tmp_path: Path
) -> None:
    ended = together(tmp_path / "told", encoder, rows, order=(1, order))
    assert ended.ends == [outcome] * 2, ended.logs
    assert len(ended.checkpoints) == kept  # who cancels wants nothing kept


def test_a_loss_that_is_no_number_ends_all_ranks(calm: Path, rows: Path, tmp_path: Path) -> None:
    settings = {**SETTINGS, "learning_rate": 1e3, "gradient_norm": 0.0, "warmup": 0.0, "schedule": "constant"}
    ended = together(tmp_path / "wild", calm, rows, settings)
    assert math.isfinite(ended.losses[0])
    assert ended.ends == ["OUTCOME_HOPELESS LOSS_NOT_FINITE"] * 2


def test_ranks_are_refused_where_they_would_learn_something_else(calm: Path, rows: Path, tmp_path: Path) -> None:
    ended = attempt(tmp_path, calm, rows, lease("object-detection"), meet=lambda: Ranks(0, 2))
    assert (ended.release.outcome, ended.release.reason) == (pb.OUTCOME_HOPELESS, "PARAMETER_INVALID")
    assert "object-detection is computed by one process" in ended.release.message


def test_more_ranks_than_examples_of_a_batch_are_refused(calm: Path, rows: Path, tmp_path: Path) -> None:
    ended = together(tmp_path / "few", calm, rows, {"batch_size": 1})
    assert ended.ends == ["OUTCOME_HOPELESS PARAMETER_INVALID"] * 2
    assert "2 processes have not enough to share in batches of 1" in ended.logs


def test_ranks_that_tell_pairs_from_each_other_have_at_least_two_each() -> None:
    budget = job_pb2.Budget()
    assert make_plan(TrainingSettings(batch_size=1), budget, rows=9, seed=1, least_at_once=2).micro_batch == 1
    assert make_plan(TrainingSettings(batch_size=6), budget, 9, 1, processes=3, least_at_once=2).micro_batch == 6
    with pytest.raises(InvalidArgument, match="a batch_size of at least 8"):
        make_plan(TrainingSettings(batch_size=6), budget, 9, 1, processes=4, least_at_once=2)
