"""Figures of an evaluation."""

import numpy as np
import pytest

from ulmfit_exp.inference import scores
from ulmfit_exp.inference.scores import apply_temperature, at_bound, fit_temperature, metrics, reliability


def test_temperature_scaling_recovers_the_temperature_of_miscalibrated_probabilities():
    random = np.random.default_rng(0)
    honest = random.dirichlet([1, 1, 1], size=4000)
    truth = np.array([random.choice(3, p=p) for p in honest])
    too_sure = apply_temperature(honest, 1 / 3)
    assert fit_temperature(too_sure, truth) == pytest.approx(3, rel=0.1)
    assert np.allclose(apply_temperature(too_sure, 3), honest)
    assert (apply_temperature(too_sure, 3).argmax(axis=1) == too_sure.argmax(axis=1)).all()


def test_a_reliability_diagram_has_a_point_per_bin_of_confidence_and_the_ece_is_its_mean_distance_from_the_diagonal():
    probs = np.array([[0.95, 0.05], [0.95, 0.05], [0.35, 0.65], [0.95, 0.05]])
    low, high = reliability(probs, truth := np.array([0, 1, 1, 0]))
    assert low == {"confidence": 0.65, "accuracy": 1, "n": 1}
    assert (high["n"], high["accuracy"]) == (3, pytest.approx(2 / 3))
    assert metrics(probs, truth)["ece"] == pytest.approx((0.35 + 3 * (0.95 - 2 / 3)) / 4)


@pytest.mark.parametrize("probability", [0.5001, 0.6, 0.8])
def test_a_few_validation_texts_move_the_temperature_little_from_1(probability):
    probs = np.array([[probability, 1 - probability]] * 6)
    for truth in (np.zeros(6, int), np.array([0, 0, 1, 0, 1, 0])):
        assert 0.6 < fit_temperature(probs, truth) < 1.7


def test_a_temperature_at_the_bound_of_the_search_is_reported():
    probs = np.array([[0.6, 0.4]] * 100_000)
    assert at_bound(fit_temperature(probs, np.zeros(100_000, int)))
    assert not at_bound(fit_temperature(probs[:100], np.zeros(100, int)))


def test_twelve_texts_without_a_wrong_label_are_no_proof_of_an_error_of_0():
    truth = np.array([[1, 0], [1, 1]] * 6)
    low, high = scores.test_details(truth * 0.8 + 0.1, truth, ["a", "b"], np.array([0.5, 0.5]))["interval"]
    assert low == 0 and high == pytest.approx(0.2425, abs=1e-4)


def test_the_interval_is_that_of_the_error_and_precision_counts_the_predicted_texts():
    probs, truth = np.eye(2)[[0, 0, 1, 1]], np.array([0, 1, 1, 1])
    found = scores.test_details(probs, truth, ["a", "b"], None)
    low, high = found["interval"]
    assert 0 < low < 0.25 < high < 0.75
    assert found["per_class"]["a"] == {"precision": 0.5, "recall": 1, "f1": 0.6667, "n": 1}


def test_macro_f1_is_the_mean_over_classes_that_occur():
    probs = np.eye(3)[[0, 0, 0, 0]]
    assert metrics(probs, np.array([0, 0, 0, 1]))["macro_f1"] == pytest.approx((6 / 7 + 0) / 2)
