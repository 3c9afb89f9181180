"""Figures of detectors that can be checked by hand."""

import json

import pytest

from modelzoo.tasks.results import Box, Detection, LabelScore
from zoo_trainer.average_precision import FOUND_MAX, TrueBox, measure_boxes
from zoo_trainer.evaluation import Measurement

LABELS = ("cat", "dog", "owl")
TRUTH = [[TrueBox(0, Box(10, 10, 30, 30)), TrueBox(1, Box(50, 50, 90, 70))], [TrueBox(0, Box(0, 0, 20, 40))], []]


def found(label: int, box: Box, score: float = 1.0) -> Detection:
    return Detection(LabelScore(LABELS[label], score, label), box)


def answers(*, shift: float = 0.0, relabel: int = 0) -> list[list[Detection]]:
    """The truth, moved to the right by a part of each box's width, or with another label."""

    def moved(box: Box) -> Box:
        by = (box.x_max - box.x_min) * shift
        return Box(box.x_min + by, box.y_min, box.x_max + by, box.y_max)

    return [[found((each.label + relabel) % 2, moved(each.box)) for each in boxes] for boxes in TRUTH]


def test_the_truth_is_worth_one_and_labels_that_nothing_has_do_not_count() -> None:
    measured = measure_boxes(LABELS, TRUTH, answers())
    assert measured.metrics == pytest.approx({"map": 1.0, "map_50": 1.0})
    assert [(each.label, each.boxes) for each in measured.boxes] == [("cat", 2), ("dog", 1), ("owl", 0)]
    assert [each.average_precision for each in measured.boxes] == [pytest.approx(1.0), pytest.approx(1.0), None]
    assert measured.items == 3


def test_boxes_a_quarter_off_count_at_overlaps_below_their_own() -> None:
    """It is 0.75 / 1.25 = 0.6: found at 0.50, 0.55 and, but for rounding, 0.60."""
    measured = measure_boxes(LABELS, TRUTH, answers(shift=0.25))
    assert measured.metrics["map_50"] == pytest.approx(1.0)
    assert measured.metrics["map"] in (pytest.approx(0.2), pytest.approx(0.3))


def test_a_wrong_box_between_two_right_ones_costs_what_it_should() -> None:
    """Precision is 1 up to half the recall, and 2/3 above: of 101 recalls 51 and 50."""
    first, second = (each[0].box for each in TRUTH[:2])
    said = [[found(0, first, 0.9)], [found(0, Box(60, 60, 70, 70), 0.8), found(0, second, 0.7)], []]
    cat, dog, _ = measure_boxes(LABELS, TRUTH, said).boxes
    assert cat.average_precision_50 == pytest.approx((51 + 50 * 2 / 3) / 101, abs=1e-6)
    assert dog.average_precision == 0


def test_the_wrong_label_in_the_right_place_and_nothing_at_all_are_worth_nothing() -> None:
    assert measure_boxes(LABELS, TRUTH, answers(relabel=1)).metrics == {"map": 0, "map_50": 0}
    assert measure_boxes(LABELS, TRUTH, [[], [], []]).metrics == {"map": 0, "map_50": 0}
    assert measure_boxes(LABELS, [[]], [[]]).metrics == {"map": 0, "map_50": 0}


def test_what_is_found_in_a_crowd_counts_neither_way() -> None:
    truth = [[TrueBox(0, Box(0, 0, 10, 10)), TrueBox(0, Box(40, 40, 90, 90), is_crowd=True)]]
    said = [[found(0, Box(45, 45, 60, 60), 0.9), found(0, Box(60, 60, 80, 80), 0.8), found(0, Box(0, 0, 10, 10), 0.7)]]
    measured = measure_boxes(LABELS, truth, said)
    assert measured.metrics["map"] == pytest.approx(1.0)
    assert measured.boxes[0].boxes == 1


def test_of_one_picture_a_hundred_count() -> None:
    truth = [[TrueBox(0, Box(0, 0, 10, 10))]]
    wrong = [found(0, Box(50, 50, 60, 60), 0.9)] * FOUND_MAX
    assert measure_boxes(LABELS, truth, [[*wrong, found(0, Box(0, 0, 10, 10), 0.1)]]).metrics["map"] == 0


def test_a_measurement_of_boxes_survives_a_checkpoint_also_of_a_time_without_them() -> None:
    measured = measure_boxes(LABELS, TRUTH, answers())
    kept = json.loads(json.dumps(measured.to_json()))
    assert Measurement.from_json(kept) == measured
    del kept["boxes"]
    assert Measurement.from_json(kept).boxes == ()
