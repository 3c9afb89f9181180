"""Figures that can be checked by hand."""

import pytest

from zoo_trainer.evaluation import Measurement, measure_classes, measure_text


def test_figures_of_three_labels_one_of_which_no_row_has() -> None:
    measured = measure_classes(["a", "b", "c"], [0, 0, 0, 1], [0, 0, 1, 1])
    assert measured.metrics["accuracy"] == 0.75
    first, second, third = measured.classes
    assert (first.precision, first.recall, first.rows) == (1.0, pytest.approx(2 / 3), 3)
    assert (second.precision, second.recall, second.rows) == (0.5, 1.0, 1)
    assert (third.precision, third.recall, third.f1, third.rows) == (0, 0, 0, 0)
    assert measured.metrics["f1"] == pytest.approx((0.8 + 2 / 3) / 2)
    assert measured.confusion == ((2, 1, 0), (0, 1, 0), (0, 0, 0))


def test_the_majority_is_what_always_saying_the_commonest_label_gives() -> None:
    truth = [0, 0, 0, 1]
    assert measure_classes(["a", "b"], truth, [1, 0, 1, 0]).majority == pytest.approx(
        measure_classes(["a", "b"], truth, [0, 0, 0, 0]).metrics
    )


def test_a_measurement_survives_a_checkpoint() -> None:
    measured = measure_classes(["a", "b"], [0, 1], [0, 0])
    assert Measurement.from_json(measured.to_json()) == measured


def test_perplexity_is_bounded_where_the_loss_is_not() -> None:
    assert measure_text(2.0, 2, 1).metrics["perplexity"] == pytest.approx(2.71828, abs=1e-4)
    assert measure_text(1e6, 1, 1).metrics["perplexity"] < float("inf")
